"""Does the gateway leave loopback? As the kernel sees it, whatever library asks."""

import re
import shutil

import pytest

from llmstudy import paths
from llmstudy.export import client, proxy
from llmstudy.export.check import read_config
from llmstudy.export.copies import KEY, drill_copy
from llmstudy.export.gateway import export_gateway
from llmstudy.export.source import decision
from llmstudy.export.upstreams import upstreams

strace = shutil.which("strace")

_OUTSIDE = re.compile(r'sin6?_port=htons\((\d+)\).*?"([^"]+)"')


def dialled(trace):
    """The addresses beside loopback that a trace of `connect` and `sendto` names."""
    text = trace.read_text(errors="replace")
    return {
        (address, port)
        for port, address in _OUTSIDE.findall(text)
        if not address.startswith(("127.", "::1", "::ffff:127."))
    }


@pytest.mark.skipif(strace is None, reason="needs strace")
def test_the_gateway_connects_to_nothing_beside_loopback(gateway_python, tmp_path):
    """At its start, and for a request to each name of the default study: its llamas too, for whose
    tokenizers LiteLLM asks huggingface.co unless HF_HUB_OFFLINE is set."""
    export_gateway(decision(paths.ROOT / "outputs" / "reference"), tmp_path / "export")
    phase = tmp_path / "export" / "phase-3"
    copied = drill_copy(read_config(phase / "config.yaml"), [])
    assert any("llama" in each["litellm_params"]["model"] for each in copied.config["model_list"])
    trace, folder = tmp_path / "trace", tmp_path / "gateway"
    folder.mkdir()
    shutil.copy(phase / "log_rows.py", folder)
    traced = tmp_path / "python"
    traced.write_text(
        f"#!/bin/sh\nexec {strace} -f --seccomp-bpf -e trace=connect,sendto,sendmsg,sendmmsg "
        f'-o {trace} {gateway_python} "$@"\n'
    )
    traced.chmod(0o755)
    with upstreams(copied.upstreams) as mocks:
        config = copied.addressed({name: mocks[name].base_url for name in copied.upstreams})
        with proxy.running(config, folder, traced, KEY, {}, mocks.trap_url) as gateway:
            for name in copied.shares:
                for streamed in (False, True):
                    reply = client.send(gateway.base_url, KEY, name, "x", streamed)
                    assert reply.verdict == "answered"
        assert mocks.dialled == []
    assert "connect(" in trace.read_text(errors="replace")
    assert dialled(trace) == set()
