from hashlib import sha256

import pyarrow as pa

from flows.crossvalidation.fold_worker import parquet


def test_an_erasure_finds_every_pseudonym_in_the_bytes_of_a_table():
    names = [sha256(str(number).encode()).hexdigest()[:20] for number in range(300)]
    data = parquet(pa.table({"subject": names * 3}))
    assert all(name.encode() in data for name in names)
