"""Some frames of a data set as a data set of their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_seg.types import Dataset, Frame, SegClass


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """The frames of `whole` at the places `indices`, in their order; a frame keeps its index in the whole."""

    whole: Dataset
    indices: Sequence[int]
    name: str

    @property
    def classes(self) -> tuple[SegClass, ...]:
        """The classes of the whole."""
        return self.whole.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Their names."""
        return self.whole.class_names

    @property
    def licence(self) -> str:
        """What holds for the whole."""
        return self.whole.licence

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Frame:
        return self.whole[self.indices[index]]

    def __iter__(self) -> Iterator[Frame]:
        return (self.whole[index] for index in self.indices)
