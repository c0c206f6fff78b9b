# On a machine with Python >= 3.11: `make demo` sets up and shows the main job, `make test` checks it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test test-faults test-chaos test-cluster test-fuzz test-mutations audit lint bench clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Installing into .venv: $$(grep -c '==' requirements.lock) packages, about 3 GB to download the first"
	@echo "time (torch brings its GPU libraries) and 6.5 GB on disk; minutes. Later clones link and compile them in one or two."
	@$(BIN)/python -c 'import pip' 2> /dev/null || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $(STAMP)

demo: setup
	@$(BIN)/f2c run demo

test: setup
	@$(BIN)/pytest

test-faults: setup
	@$(BIN)/pytest -m faults --timeout 1200

test-mutations: setup
	@$(BIN)/python tests/mutations.py

# Advisories on the locked packages, where their database can be reached.
audit: setup
	@$(BIN)/uv tool run pip-audit -r requirements.lock --require-hashes --disable-pip

KILLS ?= 100
SEED ?= 0
test-chaos: setup
	@PYTHONPATH=. $(BIN)/python tests/chaos/kill_demo.py --kills $(KILLS) --seed $(SEED) --to docs/results/chaos

# Goes on from docs/results/fuzz/results.json; PARSERS='npy photos' for some, nice -n 19 beside other work.
EXAMPLES ?= 100000
test-fuzz: setup
	@PYTHONPATH=. $(BIN)/python tests/fuzz/long.py --examples $(EXAMPLES) --only $(PARSERS)

# cluster.yaml on five hosts of this machine, and Ray's autoscaler on one; as root, with Debian's packages.
test-cluster: setup
	@(for tool in sshd rsync ip nsenter curl; do command -v $$tool > /dev/null || exit 1; done) \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-server \
	       openssh-client rsync iproute2 util-linux curl; }
	@$(BIN)/pytest -m cluster tests/cluster

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

# Table 2 on real photos, one epoch a stage, cut to minutes: six classes for the slow peers; sixteen for the
# strong one, whose stages would else be shorter than what both sides' processes need to start.
CARS := --recipe table2-cars-small --epochs 1 --factors

# A benchmark that fails leaves the others to run; its rows stay "not measured". Fewer rounds than the scripts
# take by themselves, so that all are through in half an hour.
BENCHMARKS := planning "orchestration --rounds 2" "grid_peers --epochs 12 --peers strong --factors" \
  "grid_peers --peers tune script --factor-levels 2" "training --rounds 3" "preparation --rounds 2" reading \
  "streaming --rounds 3" lrn occlusion nbsrf_dictionary nbsrf_srcnn "endings --rounds 1 --away-rounds 0" gpu \
  "grid_peers $(CARS) --classes 6 --levels 6 --plain-levels 6 --peers tune script" \
  "grid_peers $(CARS) --classes 16 --peers strong"

bench: setup
	@$(BIN)/uv pip install --quiet --editable '.[bench]'
	@failed=; began=$$(date +%s); minute() { echo $$((($$(date +%s) - began) / 60)); }; \
	for each in $(BENCHMARKS); do set -- $$each; name=$$1; shift; echo "== $$each (minute $$(minute))"; \
	  $(BIN)/python benchmarks/$$name.py "$$@" || failed="$$failed '$$each'"; done; \
	echo "== the table (minute $$(minute))"; $(BIN)/python benchmarks/table.py; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# Not runs/: what was trained is the user's.
clean:
	rm -rf .venv build *.egg-info
