"""Write a GGUF model again with other weights: python requantize.py SOURCE.gguf TARGET.gguf Q4_0|Q8_0|F16

Runs in the engines' own environment (gguf, numpy). Smaller weights decode faster, so one model becomes several servers
of unequal speed.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, quants

FILE_TYPES = {
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "F16": LlamaFileType.MOSTLY_F16,
}


def requantize(source: Path, target: Path, name: str) -> None:
    """Convert every quantized tensor; those kept in F32 (norms) stay as they are."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer, name)
    kind = GGMLQuantizationType[name]
    for tensor in reader.tensors:
        if tensor.tensor_type == GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, np.array(tensor.data))
            continue
        data = quants.quantize(quants.dequantize(tensor.data, tensor.tensor_type), kind)
        writer.add_tensor(tensor.name, data, raw_shape=data.shape, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy_metadata(reader: GGUFReader, writer: GGUFWriter, name: str) -> None:
    """Everything but what the writer itself says."""
    for field in reader.fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        kind, inner = field.types[0], field.types[-1]
        value = int(FILE_TYPES[name]) if field.name == "general.file_type" else field.contents()
        writer.add_key_value(field.name, value, kind, sub_type=inner if kind == GGUFValueType.ARRAY else None)


if __name__ == "__main__":
    source, target, name = sys.argv[1:]
    unfinished = Path(target).with_suffix(".part")
    requantize(Path(source), unfinished, name)
    unfinished.rename(target)
