"""Our stack on one GPU: prefill, decode, eight streams, with and without graphs, 4-bit weights and bfloat16, beside
transformers and vLLM.

    python benchmarks/gpu.py [--model llama-2-7b] [--rounds 5] [--peers transformers vllm]

Shapes of Qwen2.5-0.5B, Llama-3.2-1B and Llama-2-7B with random weights: Q4_0 matrices and an 8-bit head, written once
to --models and taken at the same values for bfloat16. Ours runs through the engine: scheduler, paged cache, sampler on
the CPU, a thread that reads the tokens. Peers run in bfloat16 with random weights of the same config, on the same GPU,
one after the other: a round of each in turn where memory holds them all is not promised, so medians are compared.
transformers is timed eager and, with --compile, with a static cache under torch.compile; vLLM with its own defaults
(it captures graphs), through its offline API; both greedy, without a tokenizer. Those that are not installed are left
out, and said so.

"of the memory" is the share of the bandwidth of a device-to-device copy, measured here, that the bytes of weights and
keys of a decoded token make up. "KL" is that of the 4-bit side's next-token distribution from the same weights in
float32 on the GPU, a mean over a prompt's tokens. Without a GPU it exits with 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ownlm.engine.engine import Engine
from ownlm.engine.model_runner import ModelRunner
from ownlm.engine.sampling_params import SamplingParams
from ownlm.formats import FORMATS, bfloat16
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.footprint import footprint
from ownlm.model.params import EmbeddingWeight, GluWeight, Leaf, LinearWeight, Matrix, map_leaves
from random_gguf import write_random
from shapes import SHAPES, Shape

STREAMS = 8
Run = Callable[[list[int], int, int], tuple[float, float]]
"""Of a prompt, a count of new tokens, and of answers: seconds to the first token, and tokens a second after it."""


def plain(leaf: Leaf) -> Leaf:
    """The same weight in bfloat16."""

    def matrix(given: Matrix) -> Matrix:
        if given.format not in FORMATS:
            return given
        floats = FORMATS[given.format].dequantize(np.ascontiguousarray(given.values))
        return Matrix(bfloat16.from_float32(floats), "bf16")

    if isinstance(leaf, EmbeddingWeight):
        return EmbeddingWeight(matrix(leaf.table))
    if isinstance(leaf, LinearWeight):
        return dataclasses.replace(leaf, matrices=tuple(map(matrix, leaf.matrices)))
    if isinstance(leaf, GluWeight):
        return dataclasses.replace(leaf, gate=matrix(leaf.gate), up=matrix(leaf.up))
    return leaf


class Ours:
    """A model with the side for GPUs: ``bits`` 4 as stored, or 16; ``graphs`` or eager."""

    def __init__(self, path: Path, bits: int, graphs: bool, context: int) -> None:
        from ownlm.model.ops.cuda import CudaOps
        from ownlm.model.ops.cuda_graphs import rerun

        found = checkpoint.load(path, verify=False)
        config = decoder_config(found.config(), path, context)
        params = decoder_params(config, found.tensors)
        self.bytes = footprint(config, found.tensors, "cuda").weights
        if bits == 16:
            params = map_leaves(params, plain)
            self.bytes = 2 * sum(int(np.prod(t.weights_shape)) for t in found.tensors.values())
        if not config.tie_word_embeddings:  # of a table that is only looked up, a token reads one row
            table = params.embed_tokens.table
            self.bytes -= 2 * table.values.size if table.format == "bf16" else table.values.nbytes
        ops = CudaOps(capture=None if graphs else rerun)
        self.runner = ModelRunner(ops, config, params, blocks=(2 + STREAMS) * -(-context // 16), max_positions=context)
        self.engine = Engine(self.runner, step_tokens=4096, step_tokens_shared=1024)

    def run(self, prompt: list[int], new: int, streams: int) -> tuple[float, float]:
        params = SamplingParams(temperature=0.0, max_tokens=new + 1, ignore_eos=True)
        start = time.perf_counter()
        handles = self.engine.submit_many(prompt, [params] * streams)
        for handle in handles:
            next(iter(handle))
        first = time.perf_counter()
        count = sum(1 for handle in handles for _ in handle)
        return first - start, count / (time.perf_counter() - first)

    def close(self) -> None:
        self.engine.close()


def transformers_side(shape: Shape, compiled: bool) -> Run:
    """Greedy, by hand, so that nothing but the model is timed."""
    import torch
    import transformers

    made = transformers.AutoModelForCausalLM.from_config(hf_config(shape), dtype=torch.bfloat16).to("cuda").eval()
    step = torch.compile(made.forward, mode="reduce-overhead", fullgraph=True) if compiled else made.forward

    def run(prompt: list[int], new: int, streams: int) -> tuple[float, float]:
        with torch.inference_mode():
            ids = torch.tensor([prompt] * streams, device="cuda")
            cache = (
                transformers.StaticCache(config=made.config, max_cache_len=len(prompt) + new + 16)
                if compiled
                else transformers.DynamicCache(config=made.config)
            )
            torch.cuda.synchronize()
            start = time.perf_counter()
            at = torch.arange(len(prompt), device="cuda")
            out = made.forward(ids, past_key_values=cache, cache_position=at, logits_to_keep=1)
            token = out.logits[:, -1:].argmax(-1)
            token.tolist()
            first = time.perf_counter()
            for index in range(new):
                at = torch.tensor([len(prompt) + index], device="cuda")
                token = step(token.clone(), past_key_values=cache, cache_position=at).logits[:, -1:].argmax(-1)
                token.tolist()  # as one who reads them does
            return first - start, new * streams / (time.perf_counter() - first)

    return run


def vllm_side(shape: Shape, context: int) -> Run:
    """Its offline API; the first token's time is that of an answer of one token."""
    import vllm

    folder = Path(tempfile.mkdtemp(prefix="ownlm-vllm-"))
    hf_config(shape).save_pretrained(folder)
    model = vllm.LLM(
        str(folder), load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16", max_model_len=context,
        enable_prefix_caching=False, gpu_memory_utilization=0.85,
    )  # fmt: skip

    def timed(prompt: list[int], new: int, streams: int) -> float:
        params = vllm.SamplingParams(temperature=0.0, max_tokens=new, ignore_eos=True, detokenize=False)
        start = time.perf_counter()
        model.generate([{"prompt_token_ids": prompt}] * streams, params, use_tqdm=False)
        return time.perf_counter() - start

    def run(prompt: list[int], new: int, streams: int) -> tuple[float, float]:
        first = timed(prompt, 1, streams)
        return first, new * streams / (timed(prompt, new + 1, streams) - first)

    return run


def hf_config(shape: Shape) -> Any:
    """As transformers and vLLM read it."""
    import transformers

    kind = transformers.Qwen2Config if shape.architecture == "qwen2" else transformers.LlamaConfig
    config = kind(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=16384, tie_word_embeddings=shape.tied, head_dim=shape.head_dim,
    )  # fmt: skip
    config.architectures = ["Qwen2ForCausalLM" if shape.architecture == "qwen2" else "LlamaForCausalLM"]
    return config


def measure(run: Run, shape: Shape, rounds: int, length: int, new: int) -> dict[str, float]:
    """Medians; the first round, in which kernels are compiled and graphs captured, does not count."""
    found: list[tuple[float, float, float]] = []
    for seed in range(rounds + 1):
        prompt = np.random.default_rng(seed).integers(10, shape.vocabulary - 10, length).tolist()
        first, decode = run(prompt, new, 1)
        _, streams = run(prompt[::-1], new, STREAMS)
        found.append((length / first, decode, streams))
    medians = (statistics.median(column) for column in zip(*found[1:], strict=True))
    return dict(zip(("prefill", "decode", "streams"), medians, strict=True))


def bandwidth() -> float:
    """Bytes a second that a copy within the device reads and writes."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target, begin, end = torch.empty_like(source), *(torch.cuda.Event(enable_timing=True) for _ in range(2))
    target.copy_(source)
    begin.record()
    for _ in range(10):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    return 10 * 2 * source.nbytes / begin.elapsed_time(end) * 1e3


def divergence(path: Path, context: int) -> float:
    """See the module."""
    import torch

    from ownlm.model.ops.cuda import CudaOps

    found = checkpoint.load(path, verify=False)
    config = decoder_config(found.config(), path, context)
    ids = np.random.default_rng(0).integers(10, config.vocab_size - 10, 256).astype(np.int32)
    rows = []
    for ops in (CudaOps(dtype=torch.float32, cache_format="f32", fused=False), CudaOps()):
        made = ModelRunner(ops, config, decoder_params(config, found.tensors), blocks=16)
        rows.append(torch.from_numpy(made.read(ids)).double().log_softmax(-1))
        del made
        freed()
    return float((rows[0].exp() * (rows[0] - rows[1])).sum(-1).mean())


def freed() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, action="append", help="only this one; may be repeated")
    parser.add_argument("--models", type=Path, help="folder of the models; by default one that is removed again")
    parser.add_argument("--peers", nargs="*", default=["transformers", "vllm"], choices=["transformers", "vllm"])
    parser.add_argument(
        "--compile", action="store_true", help="transformers under torch.compile too, which takes minutes"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no GPU that torch can use is here", file=sys.stderr)
        sys.exit(2)
    speed = bandwidth()
    print(f"{torch.cuda.get_device_name()}, a copy moves {speed / 1e9:.0f} GB/s, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.models or Path(scratch)
        results = {name: one(name, folder, speed, options) for name in options.model or SHAPES}
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def one(name: str, folder: Path, speed: float, options: argparse.Namespace) -> dict[str, Any]:
    """All sides of one shape, printed and returned."""
    shape, path = SHAPES[name], folder / f"{name}.gguf"
    context = options.prompt + options.new + 64
    if not path.exists():
        write_random(path, shape)
    table: dict[str, dict[str, float]] = {}
    print(f"\n{name:28}{'prefill':>10}{'decode':>10}{f'{STREAMS} streams':>12}   tokens/s   of the memory")
    for bits in (4, 16):
        for graphs in (True, False):
            side = Ours(path, bits, graphs, context)
            label = f"ownlm {bits} bits, {'graphs' if graphs else 'eager'}"
            table[label] = measure(side.run, shape, options.rounds, options.prompt, options.new)
            kept = 2 * shape.cached_values * (options.prompt + options.new / 2)
            table[label]["memory"] = table[label]["decode"] * (side.bytes + kept) / speed
            show(label, table[label])
            side.close()
            del side
            freed()
    for peer in options.peers:
        if importlib.util.find_spec(peer) is None:
            print(f"{peer} is not installed")
            continue
        for compiled in (False, True) if peer == "transformers" and options.compile else (False,):
            run = vllm_side(shape, context) if peer == "vllm" else transformers_side(shape, compiled)
            label = f"{peer} bf16{', compiled' if compiled else ''}"
            table[label] = measure(run, shape, options.rounds, options.prompt, options.new)
            show(label, table[label])
            del run
            freed()
    for ours in ("ownlm 4 bits, graphs", "ownlm 16 bits, graphs"):
        for label, theirs in table.items():
            if label != ours:
                print(f"{ours} / {label:28}" + "".join(f"{table[ours][f] / theirs[f]:9.2f}x" for f in FIELDS))
    print(f"KL of 4 bits from float32: {divergence(path, context):.2e}")
    return table


FIELDS = ("prefill", "decode", "streams")


def show(label: str, rates: dict[str, float]) -> None:
    share = f"{rates['memory']:14.2f}" if "memory" in rates else ""
    print(f"{label:28}" + "".join(f"{rates[field]:10.1f}" for field in FIELDS) + share, flush=True)


if __name__ == "__main__":
    main()
