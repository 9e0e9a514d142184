"""Named data sets: embedded, found, or fetched, and checked by checksum."""

from kexue.data.digits import Digits, digits
from kexue.data.fetch import get
from kexue.data.location import FileCheck, Location, check, data_folders, describe, fingerprint, locate, user_folder
from kexue.data.sets import DataError, DataFile, DataSet, UnknownDataSetError, known_set, known_sets
from kexue.data.texts import bags_of_words, observed_pairs, synthetic_bags_of_words

__all__ = [
    "DataError",
    "DataFile",
    "DataSet",
    "Digits",
    "FileCheck",
    "Location",
    "UnknownDataSetError",
    "bags_of_words",
    "check",
    "data_folders",
    "describe",
    "digits",
    "fingerprint",
    "get",
    "known_set",
    "known_sets",
    "locate",
    "observed_pairs",
    "synthetic_bags_of_words",
    "user_folder",
]
