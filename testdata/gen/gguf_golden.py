#!/usr/bin/env python3
"""Writes testdata/golden/gguf/: what gguf/ must read and write, made by the reference implementations.

    pip install gguf==0.19.0 numpy==2.4.6 safetensors==0.8.0 llama-cpp-python==0.3.36
    python testdata/gen/gguf_golden.py

    vectors.safetensors  source [1536] f32; for every type that can be written, encoded.TYPE u8, the bytes of source in that
                         type; for every block type that can be read, random.TYPE u8, blocks of random bits with finite
                         scales, and values.TYPE f32, the numbers in them
    reference.gguf       a small file of gguf-py's writer: metadata of every kind, tensors of several types

Numbers are decoded by gguf-py (quants.py). Blocks are encoded by ggml (ggml_quantize_chunk), the k-quants with its search, and
where gguf-py can write a type too the script checks that both agree.
"""

import ctypes
import pathlib

import gguf
import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden" / "gguf"
READ = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K]
WRITTEN = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
# Where the float16 scales stand in a block.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def source() -> np.ndarray:
    """Six blocks of 256: normal, skewed, sparse with outliers, tiny, constants and ramps, mostly zero."""
    r = np.random.default_rng(5)
    blocks = [r.normal(0, 0.05, 256), np.exp(r.normal(0, 1, 256)) - 0.3, np.where(r.random(256) < 0.05, 9, 0.1) * r.normal(0, 1, 256),
              r.normal(0, 1e-6, 256), np.concatenate([np.full(32, 0.7), np.full(32, -0.7), np.linspace(-1, 1, 64), np.linspace(2, 3, 64),
                                                      np.linspace(-3, -2, 48), np.full(16, 1e-9)]),
              np.where(np.arange(256) % 37 == 0, r.normal(0, 1, 256), 0)]
    return np.concatenate(blocks).astype(np.float32)


def encode(x: np.ndarray, t: T) -> np.ndarray:
    block, size = gguf.GGML_QUANT_SIZES[t]
    if t == T.F32:
        return x.view(np.uint8)
    if t in (T.F16, T.BF16):
        return gguf.quantize(x, t).view(np.uint8)
    lib = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    out = np.zeros(x.size // block * size, np.uint8)
    assert lib.ggml_quantize_chunk(int(t), x.ctypes.data, out.ctypes.data, 0, 1, x.size, None) == out.size
    try:
        other = gguf.quantize(x.reshape(1, -1), t).reshape(-1)
        print(t.name, "gguf-py agrees" if np.array_equal(out, other) else f"gguf-py differs in {(out != other).sum()} bytes")
    except NotImplementedError:
        pass
    return out


def random_blocks(t: T) -> np.ndarray:
    block, size = gguf.GGML_QUANT_SIZES[t]
    r = np.random.default_rng(int(t))
    b = r.integers(0, 256, (1024 // block, size), dtype=np.uint8)
    for at in SCALES[t]:
        b[:, at:at + 2] = r.normal(0, 0.02, (len(b), 1)).astype(np.float16).view(np.uint8)
    return b


def reference() -> None:
    w = gguf.GGUFWriter(OUT / "reference.gguf", "test")
    w.add_uint8("u8", 200)
    w.add_int8("i8", -3)
    w.add_uint16("u16", 60000)
    w.add_int16("i16", -30000)
    w.add_uint32("u32", 4_000_000_000)
    w.add_int32("i32", -2_000_000_000)
    w.add_float32("f32", 1.5)
    w.add_bool("flag", True)
    w.add_string("text", "naïve \"text\"")
    w.add_array("names", ["a", "", "ü"])
    w.add_array("numbers", [1, -2, 3])
    w.add_array("floats", [0.5, -1.25])
    w.add_array("flags", [True, False])
    w.add_uint64("u64", 1 << 60)
    w.add_int64("i64", -(1 << 60))
    w.add_float64("f64", 0.1)
    x = np.arange(-48, 48, dtype=np.float32) / 16
    w.add_tensor("matrix", x.reshape(3, 32))
    w.add_tensor("half", x[:5].astype(np.float16))
    w.add_tensor("blocks", gguf.quantize(x.reshape(3, 32), T.Q8_0), raw_dtype=T.Q8_0)
    w.add_tensor("cube", x.reshape(2, 3, 16))
    w.add_tensor("integers", np.arange(4, dtype=np.int32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    x = source()
    vectors = {"source": x}
    for t in WRITTEN:
        vectors["encoded." + t.name] = encode(x, t)
    for t in READ:
        blocks = random_blocks(t)
        vectors["random." + t.name] = blocks.reshape(-1)
        vectors["values." + t.name] = gguf.dequantize(blocks, t).reshape(-1)
        assert np.isfinite(vectors["values." + t.name]).all()
    save_file(vectors, OUT / "vectors.safetensors", metadata={"format": "np"})
    reference()
