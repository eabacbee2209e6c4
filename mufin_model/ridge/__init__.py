"""Classifiers in closed form over a kernel of both modalities, and the network that re-ranks what they find.

`features` says what is compared, `kernel` how, `classifiers` fits and scores, `evidence` lists what speaks for a label,
`reranker` weighs it, `fit` and `scorer` are the two ends: what `finetune` leaves, and what inference loads.
"""
