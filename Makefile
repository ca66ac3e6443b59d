# `make run` sets everything up and does the main job; `make test` sets everything up and runs the checks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check fix hooks coverage slow slurm docs bench clean

run: $(VENV)/.installed
	# the longest fits first, so that both cores are busy to the end
	$(BIN)/recbench run -m popularity -m transition -m sasrec -m ilrec -m sft -d ml-100k --seeds 3 --max-parallel 2
	$(BIN)/recbench leaderboard build

test: $(VENV)/.installed-dev
	$(MAKE) check

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto

fix:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/typos

hooks: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

coverage:
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --cov --cov-report=term:skip-covered

# needs a cluster that SLURM_CONF names, with accounting and the partitions gpu and scavenge
slurm: $(VENV)/.installed-dev
	$(BIN)/pytest -q -m slurm tests/slurm

slow: $(VENV)/.installed-dev
	$(BIN)/pytest -q -m slow

# the site in build/site/site; nothing is fetched while it is built
docs: $(VENV)/.installed-docs
	$(BIN)/python -m docs.pages build/site
	cd build/site && ../../$(BIN)/zensical build --strict -f mkdocs.yml

# the tables of docs/performance.md that a CPU can make, in 15 minutes of a core that is otherwise idle
bench: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/all.py

# torch comes first and pinned, so that no other package decides which build is taken. recbole needs ray,
# which has no wheel beyond Python 3.11; there it comes without ray, for its copy of ml-100k.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "recbench needs Python 3.11 or newer; name one with make PYTHON=python3.12"; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "this Python cannot make virtual environments; on Debian: apt install python3-venv"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip uninstall -q -y recbench 2>/dev/null || true  # its name before
	$(BIN)/pip install -q torch -c constraints.txt
	$(BIN)/pip install -q -e '.[all]' -c constraints.txt
	@$(BIN)/pip show -q recbole 2>/dev/null || $(BIN)/pip install -q --no-deps recbole -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[dev]' -c constraints.txt
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[docs]' -c constraints.txt
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
