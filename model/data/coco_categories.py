"""The categories of COCO files: which are read, and which are left out because nothing uses them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from model.config.categories import Category
from model.data.coco_records import CocoDataset
from model.data.fields import DataError, check_unseen, integer, label_of, text, whole

_LISTED = 5  # in one message


def used_ids(annotations: Sequence[Any]) -> set[int]:
    """Return the ids of the categories that any annotation has, crowds included."""
    ids = (whole(entry.get("category_id")) for entry in annotations if isinstance(entry, dict))
    return {identity for identity in ids if identity is not None}


def read_categories(
    entries: Sequence[Any], used: Collection[int], problems: list[str], remarks: list[str]
) -> tuple[Category, ...]:
    """Return the categories in the order of their ids; what is wrong with any is added to the problems.

    Of several with the same name those that are not among the `used` ids are left out, which is a remark: some tools
    write a parent category beside the only one of its name. If none is used, the last one stays.
    """
    categories: dict[int, Category] = {}
    for entry in entries:
        try:
            category = Category(integer(entry, "id"), text(entry, "name"))
            check_unseen("id", category.id, categories)
            categories[category.id] = category
        except DataError as error:
            problems.append(f"category {label_of(entry)}: {error}")
    named = defaultdict[str, list[int]](list)
    for identity in sorted(categories):
        named[categories[identity].name].append(identity)
    for name, ids in named.items():
        kept = [identity for identity in ids if identity in used] or ids[-1:]
        if len(kept) > 1:
            problems.append(f"category {kept[1]} {name}: name {name!r} is there twice")
        for identity in sorted(set(ids) - set(kept)):
            del categories[identity]
            remarks.append(
                f"category {identity} {name} is left out: nothing uses it, and {kept[0]} has the same name"
            )
    return tuple(categories[identity] for identity in sorted(categories))


def without_unused(datasets: Sequence[CocoDataset]) -> tuple[list[CocoDataset], tuple[Category, ...]]:
    """Return data sets to train on together without the categories that none of them uses, and these categories.

    Which were left out is a remark of the first one. If nothing at all is annotated, every category stays.
    """
    listed = dict.fromkeys(category for dataset in datasets for category in dataset.categories)
    used = {c for dataset in datasets for c in dataset.categories if c not in dataset.unused}
    dropped = tuple(category for category in listed if category not in used)
    if not dropped or not used:
        return list(datasets), ()
    names = ", ".join(f"{category.name} (id {category.id})" for category in dropped[:_LISTED])
    more = f" and {len(dropped) - _LISTED} more" if len(dropped) > _LISTED else ""
    remark = f"categories that no annotation uses are left out: {names}{more}"
    kept = [_of_categories(dataset, used) for dataset in datasets]
    kept[0] = replace(kept[0], remarks=(*kept[0].remarks, remark))
    return kept, dropped


def as_one_class(dataset: CocoDataset, name: str) -> CocoDataset:
    """Return a data set all of whose categories are one."""
    records = tuple(
        replace(record, annotations=tuple(replace(a, category=0) for a in record.annotations))
        for record in dataset.records
    )
    return replace(dataset, categories=(Category(1, name),), records=records, unused=frozenset())


def _of_categories(dataset: CocoDataset, wanted: Collection[Category]) -> CocoDataset:
    """Return a data set with the wanted ones of its categories; no instance may be of another."""
    categories = tuple(category for category in dataset.categories if category in wanted)
    if categories == dataset.categories:
        return dataset
    places = {category: place for place, category in enumerate(categories)}
    new = {old: places[category] for old, category in enumerate(dataset.categories) if category in places}
    records = tuple(
        replace(record, annotations=tuple(replace(a, category=new[a.category]) for a in record.annotations))
        for record in dataset.records
    )
    return replace(
        dataset, categories=categories, records=records, unused=dataset.unused.intersection(categories)
    )
