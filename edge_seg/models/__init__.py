"""Architectures by name. A model maps images float [N, 3, H, W] to logits float [N, C, H/4, W/4]."""

from edge_seg.models.edge_seg import EdgeSeg, edge_seg_l, edge_seg_n, edge_seg_s
from edge_seg.models.net import SegmentationNet
from edge_seg.models.registry import build_model, list_models

__all__ = ["EdgeSeg", "SegmentationNet", "build_model", "edge_seg_l", "edge_seg_n", "edge_seg_s", "list_models"]
