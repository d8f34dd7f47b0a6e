# `make demo` and `make test` need Python 3.11 or newer, git and make; nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

OUT ?= outputs/speed
PEERS_OUT ?= outputs/peers

# Processes of `make test`: auto is as many as there are cores for it; each takes 1.5 GB of memory.
WORKERS ?= auto

.PHONY: demo bench bench-gpu bench-peers test test-thorough test-faults test-slow test-browser test-compiler test-slurm \
	test-ray lint clean quick-lint

demo: .venv/installed
	$(BIN)/bench run -m experiment=demo
	$(BIN)/bench dashboard

bench: .venv/installed
	$(BIN)/bench speed --out $(OUT)

# Half an hour of an NVIDIA GPU at most; random weights, no images.
bench-gpu: .venv/installed
	$(BIN)/bench speed --gpu --out $(OUT)/gpu

# Other quantization tools beside this one; DATA='model=efficientnet_lite0 data=imagenet data.root=FOLDER' on photos.
DATA ?= model=resnet20 data=mnist5k
bench-peers: .venv-peers/installed
	.venv-peers/bin/python -m bench peers --out $(PEERS_OUT) $(DATA)

# Where Python writes no bytecode, each of the processes that tests start compiles all of the modules.
test test-thorough test-faults test-slow: export PYTHONDONTWRITEBYTECODE :=

# mypy reads for half a minute where it has no cache: beside the tests, and says at the end what it
# found.
test: .venv/installed quick-lint
	@types=$$(mktemp); trap 'kill $$mypy 2>/dev/null; rm -f $$types' EXIT; trap 'exit 130' INT TERM; \
	$(BIN)/mypy >$$types 2>&1 & mypy=$$!; \
	echo "$(BIN)/pytest -n $(WORKERS) --dist worksteal"; \
	$(BIN)/pytest -n $(WORKERS) --dist worksteal; tests=$$?; \
	wait $$mypy; typed=$$?; \
	echo "$(BIN)/mypy"; cat $$types; exit $$((tests ? tests : typed))

# What each takes two seconds or more of: whole commands, sweeps, trainings.
test-thorough: .venv/installed
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'thorough and not slow'

# Processes that are killed, hang or share work, disks that are full, files that are damaged.
test-faults: .venv/installed
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'faults and not slow'

test-slow: .venv/installed
	$(BIN)/pytest -m slow

# Needs a C++ compiler (Debian: apt-get install g++).
test-compiler: .venv/installed
	$(BIN)/pytest -m compiler

# Needs a Chromium (Debian: apt-get install chromium).
test-browser: .venv/browser
	$(BIN)/pytest -m browser

.venv/browser: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]'
	touch $@

# Starts Slurm on this machine and stops it (Debian: apt-get install --no-install-recommends
# slurmctld slurmd slurm-client munge).
test-slurm: .venv/slurm
	$(BIN)/pytest -m slurm

.venv/slurm: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[slurm]'
	touch $@

# Starts a Ray cluster of two nodes on this machine and stops it.
test-ray: .venv-ray/installed
	.venv-ray/bin/python -m pytest -m ray

# Ray's launcher wants older versions of some packages: they are in an environment of their own,
# before all the others, which are those of .venv.
.venv-ray/installed: .venv/installed
	$(PYTHON) -m venv .venv-ray
	$(BIN)/python -c 'import sysconfig as s; print("import site; site.addsitedir(%r)" % s.get_path("purelib"))' \
		> $$(.venv-ray/bin/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/shared.pth
	.venv-ray/bin/python -m pip install --quiet --constraint constraints-ray.txt --editable '.[ray]'
	touch $@

# So it is with the tools of `make bench-peers`.
.venv-peers/installed: .venv/installed constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	$(BIN)/python -c 'import sysconfig as s; print("import site; site.addsitedir(%r)" % s.get_path("purelib"))' \
		> $$(.venv-peers/bin/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/shared.pth
	.venv-peers/bin/python -m pip install --quiet --constraint constraints-peers.txt --editable '.[peers]'
	touch $@

lint: .venv/installed quick-lint
	$(BIN)/mypy

quick-lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# Versions are pinned to those that were tested.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[weights,dev]'
	touch $@

clean:
	rm -rf .venv .venv-ray .venv-peers outputs dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
