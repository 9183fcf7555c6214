# make demo: install, run the sweep of examples/demo.toml, leave runs/demo/report.html
# make test: everything that CI runs
# make test-all: the same, what is slow, and many more examples of each property; before a release
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo gallery test test-all numeric lint types bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hwdse needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/hwdse sweep examples/demo.toml --output runs/demo

gallery: $(STAMP)
	$(BIN)/python docs/make_gallery.py

test: $(STAMP) lint types
	$(BIN)/python -m pytest -n 3 -m "not slow"
	$(MAKE) numeric

# under other instruction sets and with two threads; `make test` has run them under the machine's own with one
numeric: $(STAMP)
	if [ "$$($(BIN)/python -c 'import torch; print(torch.backends.cpu.get_cpu_capability())')" = AVX2 ]; then \
	  echo "AVX2 is this processor's own instruction set"; \
	else \
	  OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -n 2 -q -m "numeric and not slow" tests/hwdse; \
	fi
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/python -m pytest -n 2 -q -m "numeric and not slow" tests/hwdse

test-all: $(STAMP) lint types
	$(BIN)/python -m pytest -n 2 --hypothesis-profile thorough --cov --cov-report=term
	$(MAKE) numeric

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees only the core of an editable install: check what the wheel ships
types: $(STAMP)
	rm -rf build/typing
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/typing .
	MYPYPATH=build/typing $(BIN)/mypy -p hwdse

bench: $(STAMP)
	for script in benchmarks/*.py; do case $$script in */convert_tables.py) ;; *) echo "== $$script"; $(BIN)/python $$script || exit 1;; esac; done

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
