"""Prints what pyarrow reads of a Parquet file, as JSON: columns with types, the row groups' sizes, and the rows."""

import json
import sys

import pyarrow.parquet as pq

table = pq.read_table(sys.argv[1])
file = pq.ParquetFile(sys.argv[1])
json.dump(
    {
        "columns": [[f.name, str(f.type), f.nullable] for f in table.schema],
        "groups": [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)],
        "compression": file.metadata.row_group(0).column(0).compression,
        "rows": table.slice(0, 10).to_pylist(),
    },
    sys.stdout,
)
