"""The exported serving commands against vLLM's own parser."""

import json
import shlex

from llmstudy import paths
from llmstudy.export.serving import serve_flags
from llmstudy.study import SelfHostedRoute, load

PARSE = """
import json, sys
try:
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:
    from vllm.utils import FlexibleArgumentParser
from vllm.entrypoints.openai.cli_args import make_arg_parser
parser = make_arg_parser(FlexibleArgumentParser())
read = []
for flags in json.loads(sys.argv[1]):
    known = vars(parser.parse_args(flags))
    read.append({name: known[name] for name in (
        "tensor_parallel_size", "max_model_len", "max_num_seqs", "quantization",
        "enable_prefix_caching", "port")})
print(json.dumps(read))
"""


def test_vllm_reads_every_flag_as_it_is_meant(run_there):
    routes = {
        name: route
        for name, route in load(paths.params("default.yaml")).routes.items()
        if isinstance(route, SelfHostedRoute)
    }
    flags = [shlex.split(" ".join(serve_flags(name, route, 64))) for name, route in routes.items()]
    read = run_there(PARSE, json.dumps(flags))
    for route, values in zip(routes.values(), read, strict=True):
        assert values["tensor_parallel_size"] == route.tensor_parallel
        assert values["max_model_len"] == route.context_tokens.value
        assert values["max_num_seqs"] == 64
        assert values["enable_prefix_caching"] is True
    assert [values["quantization"] for values in read] == ["fp8", None, None]
