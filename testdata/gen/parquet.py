# Writes data/testdata/pyarrow.parquet. Made with pyarrow 26.0.1; run from the repository root.
import pyarrow as pa
import pyarrow.parquet as pq

texts = ["first", None, "grüße", "a\nb", "x" * 50, "last", "first"]
table = pa.table({"id": pa.array(range(7)), "text": pa.array(texts), "n": pa.array([[1], [], [2, 3], None, [4], [5], [6]])})
pq.write_table(table, "data/testdata/pyarrow.parquet", row_group_size=3, compression="snappy", use_dictionary=["text"])
