"""Networks as everything here takes them: plain layers, images in, (N, classes) logits out."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from models.errors import BenchError

_TOLERANCE = 1e-4  # of the largest logit; batches of other sizes are rounded otherwise, 1e-6
_BATCHNORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


class Behaviour(NamedTuple):
    """What passes of a few images show of a network.

    outputs: how many logits an image has.
    chance: they are others each time. batch: the images beside it in a batch.
    changed: parameters and buffers that a forward pass changes, by name.
    unfixed: BatchNorms without running statistics, by name, which take those of the batch.
    """

    outputs: int
    chance: bool
    batch: bool
    changed: list[str]
    unfixed: list[str]


@torch.no_grad()
def canonical(network: nn.Module, image: Tensor) -> nn.Module:
    """Return `network` in eval mode and in the form that is quantized, in place.

    What it computes in eval mode stays the same:

    * What wraps a network (DataParallel, torch.compile) is taken off.
    * Weights that are computed anew from others at each pass (pruning masks, weight and spectral
      norm, other parametrizations) and those that are buffers become parameters; all are float32.
    * A SyncBatchNorm becomes the BatchNorm that it is outside of a distributed training, and a
      FrozenBatchNorm2d (torchvision's detectors) one with its statistics and its eps.
    * eval() holds for every module, also where a `train` of the network's own defies it.
    * A network that changes its input in place is given a copy.
    * Logits are taken out of what holds nothing else, and from (N, classes, 1, 1) or, squeezed,
      (classes,) to (N, classes). What else a network returns stays as it is.

    image: (1, C, H, W) normalised input, on the device of the network; it passes once.
    """
    network = _unwrapped(network)
    for module in network.modules():
        # Not by eval(), which calls the network's own methods.
        module.training = False
        if module._compiled_call_impl is not None:
            module._compiled_call_impl = None
        if _is_frozen(module):
            _thaw(module)
        _materialise(module)
    if any(t.is_floating_point() and t.dtype != torch.float32 for t in _tensors(network).values()):
        network.float()
    given = image.clone()
    before = given._version
    with _undisturbed(network), _dimensions(network) as dimensions:
        output = network(given)
    for norm, dim in dimensions.items():
        # The class alone: names, hooks and statistics stay as they are.
        norm.__class__ = _BATCHNORMS[dim]
    if given._version != before or not torch.equal(given, image):
        network.register_forward_pre_hook(_copy_inputs)
    if not _is_plain(output, len(image)):
        with suppress(BenchError):
            logits_of(output, len(image))
            network.register_forward_hook(_take_logits)
    return network


def canonical_copy(network: nn.Module, image: Tensor) -> nn.Module:
    """Return a canonical copy of `network` on the device of `image`; see `canonical`."""
    # A weight that a pass has computed is no leaf, and as such could not be copied.
    values = [value for module in network.modules() for value in vars(module).values()]
    computed = [v for v in values if isinstance(v, Tensor) and not v.is_leaf]
    copied = copy.deepcopy(network, {id(tensor): tensor.detach() for tensor in computed})
    return canonical(copied.to(image.device), image)


@torch.no_grad()
def behaviour(network: nn.Module, images: Tensor) -> Behaviour:
    """Return what passes of a few images show of a canonical `network`.

    images: (2, C, H, W) normalised input, on the device of the network. Three of them pass; five
    where a difference is to be told from chance. Random numbers are drawn aside, and the network
    is left as it was.

    Raises BenchError when it does not return logits.
    """
    with _undisturbed(network) as changed, full_float32():
        together = logits_of(network(images), len(images))
        alone = network(images[:1])
        differs = _differ(together[:1], alone)
        chance = differs and _differ(together, network(images))
    unfixed = [name for name, module in network.named_modules() if _is_unfixed(module)]
    return Behaviour(together.shape[1], chance, differs and not chance, changed, unfixed)


def logits_of(output: Any, images: int) -> Tensor:
    """Return the logits (images, classes) in what a network returns for that many images.

    They may be under the name `logits`, or the only tensor of a tuple, list or mapping; with more
    dimensions, of 1 each; and those of a single image without the dimension of the batch. Raises
    BenchError for anything else.
    """
    logits = _only_tensor(output)
    if logits is not None and logits.dim() > 0:
        if images == 1 and logits.dim() == 1:
            logits = logits[None]
        batch, *sizes = logits.shape
        if batch == images and sizes and sum(size > 1 for size in sizes) <= 1:
            return logits.flatten(1)
    raise BenchError(
        f"the network returns {_in_words(output)} for {images} image{'s' * (images > 1)}, and "
        "logits of shape (N, classes) are wanted; name a function whose network returns these alone"
    )


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute without TF32 inside, whose rounding is larger than what outputs may differ by."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def _is_plain(output: Any, images: int) -> bool:
    return isinstance(output, Tensor) and output.dim() == 2 and output.shape[0] == images


def _only_tensor(output: Any) -> Tensor | None:
    named = output.get("logits") if isinstance(output, Mapping) else None
    named = named if named is not None else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        tensors = [value for value in output if isinstance(value, Tensor)]
        return tensors[0] if len(tensors) == 1 else None
    return output if isinstance(output, Tensor) else None


def _in_words(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} of " + ", ".join(f"{k}: {_in_words(v)}" for k, v in output.items())
    if isinstance(output, tuple | list):
        return f"a {kind} of " + ", ".join(_in_words(value) for value in output)
    return f"a {kind}"


def _copy_inputs(network: nn.Module, args: Any) -> Any:
    return tuple(x.clone() if isinstance(x, Tensor) else x for x in args)


def _take_logits(network: nn.Module, args: Any, output: Any) -> Tensor:
    return logits_of(output, len(args[0]))


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return `network` without what wraps it or one of its modules, in place."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if (inside := _inside(child)) is not child:
                setattr(module, name, inside)
    return _inside(network)


def _inside(module: nn.Module) -> nn.Module:
    parallel = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
    wrapped = module.module if parallel else getattr(module, "_orig_mod", None)
    return _inside(wrapped) if isinstance(wrapped, nn.Module) else module


def _materialise(module: nn.Module) -> None:
    """Make parameters of the weights that `module` computes at each pass or has as buffers."""
    names: list[str] = []
    if parametrize.is_parametrized(module):
        names += dict(module.get_submodule("parametrizations").named_children())
        for name in names:
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            names.append(hook._tensor_name)
            prune.remove(module, hook._tensor_name)
        elif isinstance(hook, WeightNorm):
            names.append(hook.name)
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            names.append(hook.name)
            remove_spectral_norm(module, hook.name)
    if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
        names += ({"weight", "bias"} - set(names)) & {*vars(module), *module._buffers}
    for name in names:  # of frozen ones some of these leave a mere tensor
        value = getattr(module, name)
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            delattr(module, name)
            module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))


def _is_frozen(module: nn.Module) -> bool:
    """Return whether `module` is what torchvision, and others, call a FrozenBatchNorm2d."""
    buffers = {"weight", "bias", "running_mean", "running_var"}
    return type(module).__name__ == "FrozenBatchNorm2d" and buffers <= {*module._buffers}


def _thaw(module: nn.Module) -> None:
    """Make `module` the BatchNorm2d in eval mode that it computes; names and hooks stay."""
    like = nn.BatchNorm2d(len(module.get_buffer("running_mean")), eps=getattr(module, "eps", 0.0))
    for name in ("num_features", "eps", "momentum", "affine", "track_running_stats"):
        setattr(module, name, getattr(like, name))
    module.register_buffer("num_batches_tracked", like.num_batches_tracked)
    module.__class__ = nn.BatchNorm2d


@contextmanager
def _dimensions(network: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """Give, for each SyncBatchNorm that is called inside, the dimensions of its input."""
    found: dict[nn.Module, int] = {}

    def note(module: nn.Module, args: Any) -> None:
        found[module] = args[0].dim()

    norms = [module for module in network.modules() if type(module) is nn.SyncBatchNorm]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[list[str]]:
    """Put back what is drawn of random numbers and changed of `network` inside.

    Gives a list that holds the names of what was changed, afterwards.
    """
    before = {name: tensor.detach().clone() for name, tensor in _tensors(network).items()}
    changed: list[str] = []
    devices = {t.device for t in before.values() if t.device.type == "cuda"}
    with torch.random.fork_rng([device.index for device in devices]):
        yield changed
    for name, tensor in _tensors(network).items():
        if name in before and not torch.equal(tensor.nan_to_num(), before[name].nan_to_num()):
            tensor.detach().copy_(before[name])
            changed.append(name)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() > _TOLERANCE * one.abs().max())


def _is_unfixed(module: nn.Module) -> bool:
    norms = nn.modules.batchnorm._BatchNorm
    return isinstance(module, norms) and module.running_mean is None
