"""MUFIN: multi-modal extreme classification (CVPR 2022, arXiv 2309.04961).

The library: catalogue, encoders, network, training, retrieval, inference, evaluation and release.
It knows nothing of the orchestrator; `mufin_dagster` runs its verbs as assets.
"""
