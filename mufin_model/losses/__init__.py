"""Losses of Module I, one a file: name, then `loss(similarity, positive, settings)`.

similarity: cosines of B items and U labels, [B, U]; positive: True where relevant, [B, U].
"""

from mufin_model.losses.softmax import softmax_loss
from mufin_model.losses.triplet import triplet_loss

LOSSES = {"softmax": softmax_loss, "triplet": triplet_loss}

__all__ = ["LOSSES", "softmax_loss", "triplet_loss"]
