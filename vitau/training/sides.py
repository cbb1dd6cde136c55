"""A second question for training only: which side of each region is affected. It teaches the features, and is then dropped."""

from torch import Tensor, nn
from torch.nn import functional

from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.schema import AUS
from vitau.training.parallel import mean


class WithSides(nn.Module):
    """A model and a linear layer that reads its features: the ViT's class token or the encoder's styles.

    Calling it gives what the model gives; ``sided_BA2`` then holds the logits of the person's right and left side per region.
    """

    def __init__(self, model: PalsyViT | RegionModel) -> None:
        super().__init__()
        self.model = model
        self.sided_BA2: Tensor | None = None
        if isinstance(model, PalsyViT):
            self.head = nn.Linear(model.vit.embed_dim, len(AUS) * 2)
            model.vit.norm.register_forward_hook(lambda _module, _inputs, token_BND: self._read(token_BND[:, 0]))
        else:
            config = model.config.encoder
            self.head = nn.Linear(config.num_styles * config.style_dim, len(AUS) * 2)
            model.encoder.register_forward_hook(lambda _module, _inputs, style_BSD: self._read(style_BSD.flatten(1)))

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Answer as the model does."""
        output: Tensor = self.model(crop_BCHW)
        return output

    def loss(self, sided_BA2: Tensor, known_BA: Tensor) -> Tensor:
        """Binary cross-entropy of the last answer's sides over the regions whose label is known; a scalar."""
        assert self.sided_BA2 is not None
        error_BA2 = functional.binary_cross_entropy_with_logits(self.sided_BA2, sided_BA2.float(), reduction="none")
        return mean((error_BA2.mean(-1) * known_BA).sum(), known_BA.sum())

    def _read(self, feature_BD: Tensor) -> None:
        self.sided_BA2 = self.head(feature_BD).unflatten(1, (len(AUS), 2))
