"""How likely a true link of a label was observed: rare labels are missed more often (Jain et al., KDD 2016)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def inverse_propensity(counts: npt.ArrayLike, n_items: int, a: float = 0.55, b: float = 1.5) -> npt.NDArray[np.float64]:
    r"""Weight of each label: the inverse of the chance that a true link of it was observed.

        1 / p_l = 1 + C (n_l + b)^-a,   C = (ln N - 1) (b + 1)^a

    Args:
        counts: [L] training items of each label.
        n_items: N, training items in all.
        a, b: 0.55 and 1.5, but 0.5 and 0.4 for Wikipedia, 0.6 and 2.6 for Amazon data.

    Returns:
        [L] float64, larger for rarer labels. Below e training items C would be negative; it is then 0.

    Reference: Jain, Prabhu and Varma, "Extreme multi-label loss functions", KDD 2016, section 3.
    """
    c = max(0.0, np.log(max(n_items, 1)) - 1.0) * (b + 1.0) ** a
    return 1.0 + c * (np.asarray(counts, dtype=np.float64) + b) ** -a
