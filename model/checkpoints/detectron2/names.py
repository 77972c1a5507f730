"""The reference implementation's parameter names and ours."""

from __future__ import annotations

import re

POINT = ("mask_head.point.", "point.")  # ours; theirs are convolutions of width 1

# Their name → ours. {level} counts from 2 in their names, {nth} from 1, both from 0 in ours; an enlargement stands
# between two convolutions of a semantic level, so {even} goes 0, 2, 4.
# The first files (2020) have both mask heads directly under roi_heads, and "coarse_mask_fc" for "fc".
_TRUNK = r"backbone\.bottom_up\."
_COARSE = r"roi_heads\.(mask_head\.coarse_head|mask_coarse_head)"
_POINT = r"roi_heads\.(mask_head\.point_head|mask_point_head)"
_SEMANTIC = r"sem_seg_head\.(coarse_sem_seg_head\.)?"
_NAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (_TRUNK + r"stem\.conv1\.weight", "backbone.trunk.stem.conv.weight"),
        (_TRUNK + r"stem\.conv1\.(?P<end>norm\.\w+)", "backbone.trunk.stem.{end}"),
        (_TRUNK + r"(?P<unit>res\d\.\d+\.\w+)\.weight", "backbone.trunk.{unit}.conv.weight"),
        (_TRUNK + r"(?P<end>res\d\.\d+\.\w+\.norm\.\w+)", "backbone.trunk.{end}"),
        (r"backbone\.fpn_lateral(?P<level>\d)\.(?P<end>\w+)", "backbone.fpn.lateral.{level}.{end}"),
        (r"backbone\.fpn_output(?P<level>\d)\.(?P<end>\w+)", "backbone.fpn.output.{level}.{end}"),
        (r"proposal_generator\.rpn_head\.conv\.(?P<end>\w+)", "rpn.conv.{end}"),
        (r"proposal_generator\.rpn_head\.objectness_logits\.(?P<end>\w+)", "rpn.objectness.{end}"),
        (r"proposal_generator\.rpn_head\.anchor_deltas\.(?P<end>\w+)", "rpn.deltas.{end}"),
        (r"roi_heads\.box_head\.fc(?P<nth>\d+)\.(?P<end>\w+)", "box_head.fc.{nth}.{end}"),
        (r"roi_heads\.box_predictor\.(?P<end>(cls_score|bbox_pred)\.\w+)", "box_head.{end}"),
        (_COARSE + r"\.reduce_channel_dim_conv\.(?P<end>\w+)", "mask_head.coarse.reduce.{end}"),
        (_COARSE + r"\.reduce_spatial_dim_conv\.(?P<end>\w+)", "mask_head.coarse.spatial.{end}"),
        (_COARSE + r"\.(coarse_mask_)?fc(?P<nth>\d+)\.(?P<end>\w+)", "mask_head.coarse.fc.{nth}.{end}"),
        (_COARSE + r"\.prediction\.(?P<end>\w+)", "mask_head.coarse.prediction.{end}"),
        (_POINT + r"\.fc(?P<nth>\d+)\.(?P<end>\w+)", "mask_head.point.fc.{nth}.{end}"),
        (_POINT + r"\.predictor\.(?P<end>\w+)", "mask_head.point.predictor.{end}"),
        (r"roi_heads\.mask_head\.mask_fcn(?P<nth>\d+)\.(?P<end>\w+)", "mask_head.conv.{nth}.{end}"),
        (r"roi_heads\.mask_head\.(?P<end>(deconv|predictor)\.\w+)", "mask_head.{end}"),
        (_SEMANTIC + r"(?P<p>p\d)\.(?P<even>\d)\.weight", "head.levels.{p}.{even}.conv.weight"),
        (_SEMANTIC + r"(?P<p>p\d)\.(?P<even>\d)\.(?P<end>norm\.\w+)", "head.levels.{p}.{even}.{end}"),
        (_SEMANTIC + r"(?P<end>predictor\.\w+)", "head.{end}"),
        (r"sem_seg_head\.point_head\.fc(?P<nth>\d+)\.(?P<end>\w+)", "point.fc.{nth}.{end}"),
        (r"sem_seg_head\.point_head\.(?P<end>predictor\.\w+)", "point.{end}"),
    )
)


def rename(name: str) -> str:
    """Return our name of the reference's parameter; a name that is not theirs is returned as it is."""
    for pattern, template in _NAMES:
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            level, nth = int(parts.pop("level", 2)) - 2, int(parts.pop("nth", 1)) - 1
            even = int(parts.pop("even", 0)) // 2
            return template.format(**parts, level=level, nth=nth, even=even)
    return name
