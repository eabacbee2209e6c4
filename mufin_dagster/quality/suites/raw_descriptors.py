"""The rules of raw_descriptors."""

from __future__ import annotations

from mufin_dagster.quality.rule import (
    BETWEEN,
    CRITICAL,
    EQUAL,
    HEAD_SHARE,
    IN_SET,
    NEW_PICTURE,
    NEW_TEXT,
    NOT_NULL,
    PAIR,
    STABLE,
    UNIQUE,
    WARNING,
    Rule,
    least,
    most,
    none,
    some,
)

NOUN = "raw_descriptors"

ITEM_SPLITS = ["train", "val", "test"]
LINK_SPLITS = [*ITEM_SPLITS, "zero_shot"]

# fmt: off
RULES: tuple[Rule, ...] = (
    # shape
    Rule("schema", NOUN, "schema", EQUAL, PAIR, CRITICAL, "Every table has its columns, of their types."),
    Rule("item_ids_not_null", NOUN, "items", NOT_NULL, {"column": "id"}, CRITICAL, "Every item has an id."),
    Rule("item_ids_unique", NOUN, "items", UNIQUE, {"column": "id"}, CRITICAL, "No two items share an id."),
    Rule("label_ids_not_null", NOUN, "labels", NOT_NULL, {"column": "id"}, CRITICAL, "Every label has an id."),
    Rule("label_ids_unique", NOUN, "labels", UNIQUE, {"column": "id"}, CRITICAL, "No two labels share an id."),
    Rule("references_known", NOUN, "references", BETWEEN, none("dangling"), CRITICAL,
         "Every link, filter and bag points at an item, a label and an image that exist."),
    Rule("links_unique", NOUN, "links", BETWEEN, none("repeated"), CRITICAL, "No link is there twice."),
    # splits and leakage
    Rule("item_splits_not_null", NOUN, "items", NOT_NULL, {"column": "split"}, CRITICAL, "Every item has a split."),
    Rule("item_splits_known", NOUN, "items", IN_SET, {"column": "split", "value_set": ITEM_SPLITS}, CRITICAL,
         "An item's split is train, val or test."),
    Rule("link_splits_not_null", NOUN, "links", NOT_NULL, {"column": "split"}, CRITICAL, "Every link has a split."),
    Rule("link_splits_known", NOUN, "links", IN_SET, {"column": "split", "value_set": LINK_SPLITS}, CRITICAL,
         "A link's split is train, val, test or zero_shot."),
    Rule("splits_not_empty", NOUN, "required_splits", BETWEEN, some("linked_items"), CRITICAL,
         "The training and the test split have items with links."),
    Rule("validation_not_empty", NOUN, "validation_split", BETWEEN, some("linked_items"), WARNING,
         "There are validation items: they choose the weights of the fusion."),
    Rule("items_in_one_split", NOUN, "items", BETWEEN, most("splits", 1), CRITICAL,
         "No item is in two splits."),
    Rule("links_within_split", NOUN, "items", BETWEEN, none("foreign_links"), CRITICAL,
         "A link is in its item's split: no test item has training links."),
    Rule("zero_shot_labels_unseen", NOUN, "zero_shot_labels", BETWEEN, none("train_items"), CRITICAL,
         "No zero-shot label has training items."),
    Rule("test_items_new", NOUN, "test_items", BETWEEN, none("train_twins", mostly=0.95), WARNING,
         "At most 5 % of the test items have a training item of the same text and images."),
    # what a bag holds
    Rule("images_decode", NOUN, "images", IN_SET, {"column": "fault", "value_set": ["none"]}, CRITICAL,
         "A sample of 500 images decodes, each to its declared size."),
    Rule("images_not_flat", NOUN, "images", BETWEEN, some("contrast", mostly=0.95), WARNING,
         "At most 5 % of a sample of 500 images are of one colour."),
    Rule("items_described", NOUN, "items", BETWEEN, some("descriptors"), CRITICAL,
         "Every item has a text or an image."),
    Rule("labels_described", NOUN, "labels", BETWEEN, some("descriptors"), WARNING,
         "Every label has a text or an image."),
    Rule("items_with_text", NOUN, "items", BETWEEN, some("texts", mostly=0.7), WARNING,
         "At least 70 % of the items have a text."),
    Rule("items_with_images", NOUN, "items", BETWEEN, some("images", mostly=0.7), WARNING,
         "At least 70 % of the items have an image."),
    Rule("labels_trained", NOUN, "seen_labels", BETWEEN, some("train_items", mostly=0.95), WARNING,
         "At least 95 % of the seen labels have a training item."),
    # how like the items are to each other
    Rule("test_texts_new", NOUN, "texts", NEW_TEXT, {"text": "text", "split": "split", "max_value": 0.05}, WARNING,
         "At most 5 % of the test items' texts are those of a training or validation item, but for the order and the "
         "marks of the words or, of eight words and more, one word more or less."),
    Rule("test_pictures_new", NOUN, "pictures", NEW_PICTURE, {"hash": "hash", "split": "split", "max_value": 0.05},
         WARNING, "At most 5 % of the test items' first pictures are near copies of a training or validation item's."),
    Rule("modalities_alike", NOUN, "modalities", BETWEEN, most("gap", 0.15), WARNING,
         "Test and validation items lack their text or their images about as often as training items, within 15 points "
         "of a hundred."),
    Rule("text_lengths_usual", NOUN, "text_shapes", BETWEEN,
         {"column": "times_median", "min_value": 0.05, "max_value": 20, "mostly": 0.99}, WARNING,
         "At most 1 % of the texts are twenty times as long, or as short, as half of them are."),
    Rule("texts_in_one_script", NOUN, "text_shapes", BETWEEN, most("other_script", 0.5, mostly=0.95), WARNING,
         "At most 5 % of the texts are mostly in another script than the catalogue's own."),
    # labels' frequencies
    Rule("head_labels_share", NOUN, "seen_labels", HEAD_SHARE,
         {"column": "train_items", "head": 0.01, "max_value": 0.5}, WARNING,
         "The most frequent hundredth of the labels holds at most half of the training links."),
    Rule("tail_labels_trained", NOUN, "seen_labels", BETWEEN, least("train_items", 2, mostly=0.5), WARNING,
         "At least half of the seen labels have two training items."),
    # drift
    Rule("text_lengths_stable", NOUN, "text_drift", STABLE, {"column": "characters", "era": "era", "max_value": 0.25},
         WARNING, "The lengths of the items' texts are distributed as in the last release (PSI at most 0.25)."),
    Rule("links_stable", NOUN, "link_drift", STABLE, {"column": "labels", "era": "era", "max_value": 0.25}, WARNING,
         "The training items have as many labels as in the last release (PSI at most 0.25)."),
)
# fmt: on
