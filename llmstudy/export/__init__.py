"""What carries a decision out: the files that the phases of the plan need.

`gateway.py` writes the gateway's configuration of phase 1 and phase 3 from a study and what its
chapters wrote (`source.py`), `pages.py` the files for people beside it; `check.py` refuses a
configuration that the gateway would start with and then ignore, guess or turn around; `serving.py`
writes the command that serves each self-hosted route.

`keys.csv`, `providers.csv`, `retrieval_providers.csv` and `flags.csv` have what LiteLLM and vLLM
know by name.
"""
