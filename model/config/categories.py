"""The categories of the data sets that networks here are trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """A class of a data set."""

    id: int  # as in the data set's annotations; a network's class is the position in its list of categories
    name: str


# COCO numbers 91 things and annotates 80 of them: runs of names by the id of the first.
_COCO_RUNS = {
    1: "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant",
    13: "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe",
    27: "backpack umbrella",
    31: "handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove",
    41: "skateboard surfboard tennis_racket bottle",
    46: "wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut",
    61: "cake chair couch potted_plant bed",
    67: "dining_table",
    70: "toilet",
    72: "tv laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator",
    84: "book clock vase scissors teddy_bear hair_drier toothbrush",
}
COCO = tuple(
    Category(first + i, name.replace("_", " "))
    for first, names in _COCO_RUNS.items()
    for i, name in enumerate(names.split())
)
CITYSCAPES = (
    Category(24, "person"),
    Category(25, "rider"),
    Category(26, "car"),
    Category(27, "truck"),
    Category(28, "bus"),
    Category(31, "train"),
    Category(32, "motorcycle"),
    Category(33, "bicycle"),
)
_CITYSCAPES_LABELS = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky person rider car truck "
    "bus train motorcycle bicycle"
)
# The classes of Cityscapes' label maps; ids are those of training.
CITYSCAPES_LABELS = tuple(
    Category(i, name.replace("_", " ")) for i, name in enumerate(_CITYSCAPES_LABELS.split())
)


def numbered(n: int) -> tuple[Category, ...]:
    """Return categories for a network whose classes have no known names: class_1 … class_n, with ids 1 … n."""
    return tuple(Category(i, f"class_{i}") for i in range(1, n + 1))


def default_categories(task: str, num_classes: int) -> tuple[Category, ...]:
    """Return COCO's categories for 80 classes of instances, numbered ones otherwise."""
    return COCO if task == "instance" and num_classes == len(COCO) else numbered(num_classes)
