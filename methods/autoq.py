"""AutoQ (Lou et al., ICLR 2020), reconstructed: one agent for layers, another for their kernels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log

from methods.search.agent import AgentOptions
from methods.search.base import Problem, SearchMethod, Walk
from methods.search.kernels import Hierarchy, KernelWalk
from models.errors import BenchError
from models.quantize.bits import ChosenBits
from models.quantize.spec import QuantSpec

_LEAST = 1e-3  # of an accuracy or a share, so that it has a logarithm


@dataclass(frozen=True)
class AutoQ(SearchMethod):
    """Bits of each kernel (output channel) by two agents, within a budget: a reconstruction.

    A controller of layers says for each the bits that a weight of it is to have on average, its
    goal, and the bits of its input; a controller of kernels is given the goal and says the bits of
    each. The first is rewarded with log(accuracy^p_0 / product of cost^p_c), the second with how
    near its kernels come to the goal and a share of the same. What the first did is relabelled when
    it is learned from again, as in HIRO (Nachum et al., NeurIPS 2018): with the goal that explains
    best, by the second's actor of now, the bits that were chosen.

    No code was released and most constants are not known, so `variant` has one value, and each
    constant that was chosen here is a parameter. Known: two agents of the kind of `haq`, 300 units,
    goals and kernels of 0 to 8 bits, an intrinsic reward whose share of the extrinsic one rises
    from 0.1 to 0.8. Chosen: all else of `layers`, `kernels` and `hierarchy`; that bits are lowered
    until the budget is met, as in HAQ; and that a kernel is told its largest weight and the
    deviation of its weights beside the shape of its layer, its place and the goal.

    prune: whether a kernel may have 0 bits, as in the paper, where networks are trained on; what is
        pruned and never trained again ruins a network.
    accuracy_power, cost_powers: p_0 and, by the name of a cost, p_c; a cost counts as a share of
        what it is at the most bits. None: accuracy alone.
    layers, kernels: the two agents.
    """

    name = "autoq"
    bibtex = """@inproceedings{lou2020autoq,
  title = {{AutoQ}: Automated Kernel-Wise Neural Network Quantization},
  author = {Lou, Qian and Guo, Feng and Kim, Minje and Liu, Lantao and Jiang, Lei},
  booktitle = {ICLR},
  year = {2020}
}"""

    prune: bool = False
    accuracy_power: float = 1.0
    cost_powers: Mapping[str, float] | None = None
    layers: AgentOptions = field(default_factory=AgentOptions)
    kernels: AgentOptions = field(default_factory=lambda: AgentOptions(discount=0.0))
    hierarchy: Hierarchy = field(default_factory=Hierarchy)

    def check(self, spec: QuantSpec) -> None:
        super().check(spec)
        if spec.w_bits != "mixed":
            raise BenchError("method autoq chooses bits of weights; add quant.w_bits=mixed")
        if spec.w_granularity != "channel":
            raise BenchError(
                "method autoq gives each output channel bits of its own, which a grid of the whole "
                "tensor cannot have; set quant.w_granularity=channel"
            )

    def weight_candidates(self, spec: QuantSpec) -> tuple[int, ...]:
        return (0, *spec.w_candidates) if self.prune else spec.w_candidates

    def walk(self, problem: Problem) -> Walk:
        choices = self.choices(problem.spec, problem.prices, problem.special)
        agents = self.layers, self.kernels
        pace = self.random_episodes, self.episodes, self.updates
        return KernelWalk(problem, choices, agents, self.hierarchy, pace)

    def reward(self, top1: float, float_top1: float, bits: ChosenBits, problem: Problem) -> float:
        value = self.accuracy_power * log(max(top1 / 100, _LEAST))
        if self.cost_powers:
            names = list(self.cost_powers)
            choices = self.choices(problem.spec, problem.prices, problem.special)
            most = problem.prices.totals(names, *choices.uniform(max))
            now = problem.prices.totals(names, *bits)
            for name, power in self.cost_powers.items():
                value -= power * log(max(now[name] / most[name], _LEAST))
        return value
