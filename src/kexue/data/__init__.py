"""Named data sets: embedded, found, or fetched, and checked by checksum."""

from kexue.data.digits import Digits, digits
from kexue.data.documents import Documents, load_documents
from kexue.data.fetch import get
from kexue.data.generated_text import GeneratedText, generated_text
from kexue.data.idx import LabelledImages, idx_images, load_idx
from kexue.data.image_folder import ImageFolder, ImageFolderError, image_folder
from kexue.data.images import load_images
from kexue.data.location import FileCheck, Location, check, data_folders, describe, fingerprint, locate, user_folder
from kexue.data.sets import DataError, DataFile, DataSet, UnknownDataSetError, known_set, known_sets
from kexue.data.stacked_digits import StackedDigits, stacked_digits
from kexue.data.stdlib_text import stdlib_bytes, stdlib_files
from kexue.data.stream import SafeIterable
from kexue.data.texts import bags_of_words, observed_pairs, synthetic_bags_of_words
from kexue.data.toy_2d import Modes, toy_2d, toy_2d_entropy, toy_2d_log_prob, toy_2d_modes

__all__ = [
    "DataError",
    "DataFile",
    "DataSet",
    "Digits",
    "Documents",
    "FileCheck",
    "GeneratedText",
    "ImageFolder",
    "ImageFolderError",
    "LabelledImages",
    "Location",
    "Modes",
    "SafeIterable",
    "StackedDigits",
    "UnknownDataSetError",
    "bags_of_words",
    "check",
    "data_folders",
    "describe",
    "digits",
    "fingerprint",
    "generated_text",
    "get",
    "idx_images",
    "image_folder",
    "known_set",
    "known_sets",
    "load_documents",
    "load_idx",
    "load_images",
    "locate",
    "observed_pairs",
    "stacked_digits",
    "stdlib_bytes",
    "stdlib_files",
    "synthetic_bags_of_words",
    "toy_2d",
    "toy_2d_entropy",
    "toy_2d_log_prob",
    "toy_2d_modes",
    "user_folder",
]
