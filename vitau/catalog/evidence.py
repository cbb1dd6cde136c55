"""Evidence about held-out people: predictions by models that never saw them, and the looks that were taken at them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from vitau.catalog.erasures import Erasures
from vitau.catalog.rows import to_row
from vitau.catalog.tables import left_out, looks
from vitau.errors import ContradictionError


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """The prediction for a person by the models of the folds that left the person out: means over frames and folds.

    Attributes:
        training: key of the training on everybody that has the recipe and the people of the folds.
        subject: pseudonym.
        num_frames: frames of the person.
        num_folds: folds that left the person out.
        palsy_score: probability of a palsy; ``None`` for regions.
        threshold: of recognition, mean over the folds.
        regions: score by region, affected above 0; ``None`` for recognition.
        right_score: probability that the right side is the affected one; ``None`` unless the model has sides.
    """

    training: str
    subject: str
    num_frames: int
    num_folds: int
    palsy_score: float | None = None
    threshold: float | None = None
    regions: Mapping[str, float] | None = None
    right_score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One evaluation of a model on the held-out people of a snapshot.

    Attributes:
        key: digest of the model, the snapshot and the protocol: the same evaluation is one look, however often it is shown.
        snapshot: digest.
        protocol: which people were held out.
        model: that was evaluated, such as ``vitau-palsy`` or a recipe.
        purpose: what the numbers were for.
    """

    key: str
    snapshot: str
    protocol: str
    model: str
    purpose: str


class EvidenceLog(Erasures):
    """Predictions for people who were left out, and the append-only list of looks; a trigger refuses changes of the list."""

    def add_left_out(self, found: Iterable[LeftOut]) -> int:
        """Add the predictions of all folds of a training at once; return how many are new.

        Raises:
            ContradictionError: a person was erased, or the erasure has begun.
        """
        rows = [to_row(prediction) for prediction in found]
        self.check_living({row["subject"] for row in rows})
        try:
            return self._insert(left_out, rows)
        except sa.exc.IntegrityError as error:  # the foreign key: an erasure replaced the pseudonym meanwhile
            raise ContradictionError("a person who was left out was erased meanwhile: retrain again") from error

    def left_out(self, training: str) -> list[LeftOut]:
        """Return the predictions that belong to a training, by pseudonym; none unless it left people out one at a time."""
        query = sa.select(left_out).where(left_out.c.training == training).order_by(left_out.c.subject)
        return self._load(LeftOut, query)

    def add_look(self, look: Look) -> bool:
        """Add a look; return whether it is new."""
        return bool(self._insert(looks, [to_row(look)]))

    def looks(self) -> list[Look]:
        """Return every look, oldest first."""
        return self._load(Look, sa.select(looks).order_by(looks.c.recorded_at, looks.c.key))
