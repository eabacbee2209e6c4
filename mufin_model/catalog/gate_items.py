"""The test items that the release gate decides by, apart from those whose figures the model card reports.

A gate that decides night after night by the items of the card would promote what is lucky on them, and the card would
report the luck. A hash of an item's id decides on which side it is, so it stays there in every version of the data.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mufin_model.catalog.catalog import Catalog

BYTES = 8


def gate_items(catalog: Catalog, share: float) -> npt.NDArray[np.bool_]:
    """True where a test item is the gate's, bool [n_test].

    Args:
        catalog: its test items, in their order.
        share: of the items, from 0 to 1.
    """
    ids = catalog.items["id"].gather(catalog.rows("test"))
    hashes = (int.from_bytes(blake2b(id_.encode(), digest_size=BYTES).digest(), "big") for id_ in ids)
    return np.fromiter((value < share * 256**BYTES for value in hashes), bool, len(ids))
