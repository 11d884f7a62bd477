# Every path here is relative, so that the folder's own name may hold spaces. Values given on the command line
# (make run PORT=9000 VAR="/data/weigh house") reach the recipes as environment variables, which the shell can quote.
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
export PORT BIND VAR DEMO TRAFFIC ARGS
# Some images tell Python to keep no compiled code: then each process that a command starts compiles Django anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE
PYTHON := .venv/bin/python

.PHONY: help environment development run test bench prove lint types fmt

help:
	@echo 'make run     everything in one terminal, with a demo organization: PORT=8000 BIND=127.0.0.1 VAR=var DEMO=0 TRAFFIC=0'
	@echo 'make test    all tests, those in a browser included: ARGS="tests/ingest -k otlp"'
	@echo 'make lint    style, import directions, missing migrations, settings of a real installation'
	@echo 'make types   mypy'
	@echo 'make fmt     formats the code'
	@echo 'make bench   measures throughput and latency against baselines'
	@echo 'make prove   hard limits and acknowledged events under crashes and lost connections; writes docs/proof.md'

environment:
	@sh tools/environment

development:
	@sh tools/environment develop

run: environment
	@set --; \
	for choice in DEMO TRAFFIC; do \
		eval "value=\$$$$choice"; \
		case "$$value" in ''|0|1) ;; *) echo "$$choice=$$value: say $$choice=0 to leave it out." >&2; exit 2;; esac; \
	done; \
	test -z "$$PORT" || set -- "$$@" --port "$$PORT"; \
	test -z "$$BIND" || set -- "$$@" --bind "$$BIND"; \
	test -z "$$VAR" || set -- "$$@" --var "$$VAR"; \
	test "$$DEMO" != 0 || set -- "$$@" --no-demo; \
	test "$$TRAFFIC" != 0 || set -- "$$@" --no-traffic; \
	exec $(PYTHON) manage.py up "$$@"

test: development
	@sh tools/browser
	@sh tools/nginx >/dev/null
	@unset VAR; exec $(PYTHON) -m pytest -n 2 --dist loadgroup $$ARGS

prove: development
	@exec $(PYTHON) -m tests.proof $$ARGS

bench: development
	@exec $(PYTHON) -m tests.bench $$ARGS

lint: development
	$(PYTHON) -m ruff check .
	.venv/bin/lint-imports --no-logo
	@sh tools/deployable

types: development
	$(PYTHON) -m mypy .

fmt: development
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
