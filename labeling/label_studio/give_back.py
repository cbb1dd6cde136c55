"""Return contradictory answers to their readers: the task opens again, last in the queue, and the page shows the reason."""

from collections.abc import Iterable
from typing import Any

from labeling.label_studio.annotations import ParsedAnnotation
from labeling.label_studio.client import get_task, readable_errors
from labeling.sampling.tasks import returned


@readable_errors()
def give_back(client: Any, annotations: Iterable[ParsedAnnotation]) -> int:
    """Cancel each annotation as its reader's skip would, and write the reason on the page; return their number. Idempotent.

    A canceled annotation stays in Label Studio, so that nothing is lost. An annotation that changed since it was read is left
    alone: the next pull reads it again.
    """
    given_back = 0
    for annotation in annotations:
        task = get_task(client, annotation.task)
        read = (annotation.annotation, annotation.version, False)
        current = task.annotations if task is not None else ()
        if all((str(found["id"]), found["updated_at"], found["was_cancelled"]) != read for found in current):
            continue
        client.tasks.update(str(task.id), data=task.data | {"returned": returned(annotation.problem or "")})
        client.annotations.update(int(annotation.annotation), was_cancelled=True)
        given_back += 1
    return given_back
