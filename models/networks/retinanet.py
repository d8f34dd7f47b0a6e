"""torchvision's RetinaNet (Lin et al., ICCV 2017) on square images of one size, in two halves."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead

CLEAR = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
"""For torchvision's own step before a detector: images are normalised already."""


class SquareRetinaNet(RetinaNet):
    """Images of `size` x `size` pixels, normalised, to boxes, by torchvision's layers and names.

    `raw` is everything that has weights, and `detections` everything behind it. Called in training
    mode with targets it returns losses, as torchvision's do, and otherwise detections.

    backbone: to five levels, at strides 8, 16 and 32 and of two more convolutions of stride 2.
    classes: of the head, the background among them, which is 0 and never found. size: a multiple
    of 32.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        size: int,
        anchors: AnchorGenerator | None = None,
        head: RetinaNetHead | None = None,
        most: int = 300,
    ) -> None:
        super().__init__(
            backbone,
            classes,
            fixed_size=(size, size),
            anchor_generator=anchors,
            head=head,
            detections_per_img=most,
            **CLEAR,
        )
        self.size = size

    def raw(self, images: Tensor) -> Tensor:
        """Return the outputs of the heads for `images` (N, 3, size, size), normalised: (N, K).

        First the logits of all classes at all anchors, then the four numbers of each box.
        """
        heads = self._heads(images)
        return torch.cat([heads["cls_logits"].flatten(1), heads["bbox_regression"].flatten(1)], 1)

    def detections(self, raw: Tensor) -> list[dict[str, Tensor]]:
        """Return `boxes` (n, 4) as corners in pixels, `scores` and `labels` for each row of `raw`.

        As torchvision: scores above 0.05, at most 1,000 of a level, suppression of overlaps above
        0.5 within a class.
        """
        classes = self.head.classification_head.num_classes
        levels = self._levels(raw.device)
        each = [len(anchors) for anchors in levels]
        logits, boxes = raw.split([sum(each) * classes, sum(each) * 4], dim=1)
        heads = {
            "cls_logits": list(logits.reshape(len(raw), -1, classes).split(each, dim=1)),
            "bbox_regression": list(boxes.reshape(len(raw), -1, 4).split(each, dim=1)),
        }
        found: list[dict[str, Tensor]] = self.postprocess_detections(
            heads, [levels] * len(raw), [(self.size, self.size)] * len(raw)
        )
        return found

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the focal loss of classes and the L1 loss of boxes, () each.

        targets: of each image `boxes` (n, 4) as corners in pixels and `labels` (n,) int64.
        """
        anchors = [torch.cat(self._levels(images.device))] * len(images)
        losses: dict[str, Tensor] = self.compute_loss(targets, self._heads(images), anchors)
        return losses

    def forward(
        self,
        images: Tensor | Sequence[Tensor],
        targets: Sequence[dict[str, Tensor]] | None = None,
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        batch = images if isinstance(images, Tensor) else torch.stack(list(images))
        if self.training and targets is not None:
            return self.losses(batch, targets)
        return self.detections(self.raw(batch))

    def _heads(self, images: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.head(list(self.backbone(images).values()))
        return outputs

    def _levels(self, device: torch.device) -> list[Tensor]:
        """Return the anchors of each level, (n, 4) corners."""
        sides = [self.size // 2**power for power in (3, 4, 5)]
        for _ in range(2):  # a convolution of stride 2 and padding 1
            sides.append((sides[-1] + 1) // 2)
        maps = [torch.zeros(1, 1, side, side, device=device) for side in sides]
        # Its values are not looked at, its size is.
        image = torch.zeros(1, device=device).expand(1, 1, self.size, self.size)
        (anchors,) = self.anchor_generator(ImageList(image, [(self.size, self.size)]), maps)
        numbers = self.anchor_generator.num_anchors_per_location()
        return list(anchors.split([s * s * n for s, n in zip(sides, numbers, strict=True)]))
