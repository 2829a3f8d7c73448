# One command per purpose; `make` alone lists them. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
HALF_DONE := $(VENV)/.half-done

# glibc gives each freed tensor back to the system and asks for it again, which takes longer than filling it: keep it.
# Measured: a training step of the whole backbone 0.72 s instead of 1.84 s. All threads share one arena, for a second one
# gives memory back all the same: a worker of Dask, which computes in a thread, takes 31 s instead of 38 s for a training
# and its concepts. Other systems ignore these variables.
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 2147483647
export MALLOC_ARENA_MAX ?= 1

# Threads that wait for others do not spin, neither torch's nor those of NumPy and SciPy. Measured beside one other busy
# process on two cores: a step of an inversion 0.1 to 0.2 s instead of 0.3 to 2.6 s; three clusterings of notebook 02
# take 34 s instead of 83 s, and 21 s of processors instead of 52 s.
export OMP_WAIT_POLICY ?= PASSIVE
export OPENBLAS_THREAD_TIMEOUT ?= 4

# Containers often say that Python shall keep no compiled modules. Each process, and a run starts dozens, would compile
# torch, SciPy and all else anew: measured, `import asxai.study` takes 19 s of processor instead of 7 s.
unexport PYTHONDONTWRITEBYTECODE

# DATASET=<registered name or folder of pictures>  NOTEBOOKS="01 02_prototypes"  PARAMS="name=value name=value"
# No shell reads what a user gives, and make does not expand it: `value` is the text as it was typed, and asxai.run finds
# it in the environment. Names of folders may so hold quotes, $, ;, #, backslashes and spaces; so may the checkout's.
# make takes any name without a word, so that NOTEBOOK=10 would run everything: what is not known is an error.
KNOWN := DATASET NOTEBOOKS PARAMS DASK PYTHON MALLOC_% OMP_% OPENBLAS_%
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN) MAKE% -%,$(GIVEN))
$(if $(UNKNOWN),$(error unknown: $(UNKNOWN); known are $(filter-out %_%,$(KNOWN))))
$(foreach name,$(filter $(KNOWN),$(GIVEN)),$(eval override $(name) := $$(value $(name))))
export ASXAI_DATASET := $(value DATASET)
export ASXAI_NOTEBOOKS := $(value NOTEBOOKS)
export ASXAI_PARAMS := $(value PARAMS)
export ASXAI_DASK := $(value DASK)
export ASXAI_PYTHON := $(value PYTHON)

# The tests execute the committed notebooks too: with the trained studies in runs/, with a copy of the figures, where they
# find the tables of the last `make study`, and without progress bars. nbval starts the kernel of this very environment
# and compares the cells tagged for it. Two notebooks at a time, for much of what they do takes one core: beside the
# first, which trains what most others load, the longest, on another data set; then from long to short.
NBVAL = ASXAI_FIGURES="$$PWD/runs/tests/figures" ASXAI_PROGRESS=/dev/null \
	$(RUN) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=7200
LONGEST := $(foreach number,01 05 03 07 10 02 06,notebooks/$(number)_*.ipynb)

# In the order of the command. The plugin's own is by the number of tests, and those that start processes, or notebooks
# that train, have few.
TWO := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup figures study results test faults bench lab notebooks lock clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F '|' '{ printf "make %-10s %s\n", $$1, $$2 }'
	@echo
	@echo 'figures and study also take:'
	@echo '  DATASET=<name or folder>  a registered data set, or a folder with one subfolder of pictures per class;'
	@echo '                            what is no folder as a whole is read as several: a line each, or a word each'
	@echo '  NOTEBOOKS="01 02 ..."     some of the notebooks, by pieces of their names'
	@echo '  PARAMS="name=value ..."   other values for the parameters of the notebooks'
	@echo '  DASK=local or tcp://...   study: trainings as jobs of Dask, on all cores or on a cluster (asxai/run/cluster.py)'
	@echo "In single quotes ('...') make gets every name as it is; an apostrophe is then written '\\\''."

# Only what is asked for and is not here comes to this rule.
.DEFAULT:
	$(error there is no '$@'; `make` alone lists what there is)

setup: $(READY)  ## the Python environment .venv, with the exact versions of requirements.lock

figures: $(READY)  ## every figure: executes the notebooks that are not up to date
	$(RUN) -m asxai.run figures

study: $(READY)  ## the same with the long protocol: the trainings of the full study
	$(RUN) -m asxai.run study

test: $(READY)  ## the tests, then every committed notebook: it runs, and its checked numbers come out again
	$(RUN) -m ruff check --quiet asxai tests data/menagerie && $(RUN) -m ruff format --check --quiet asxai tests data/menagerie
	$(RUN) -m pytest $(TWO) tests/test_faults.py tests/test_*.py tests/run tests/[a-z]*/
	@rm -rf runs/tests/figures && mkdir -p runs/tests && cp -r figures runs/tests/figures
	$(NBVAL) $(TWO) $(LONGEST) notebooks/[0-9][0-9]_*.ipynb

faults: $(READY)  ## the fault campaign: kills, full disks, damaged files, about 20 minutes; figures/faults.csv
	$(RUN) tests/faults.py

results: $(READY)  ## the tables of all claims in figures/README.md
	$(RUN) -m asxai.benchmarks.claims

bench: $(READY)  ## the table of measurements
	$(RUN) -m asxai.benchmarks.speed

lab: $(READY)  ## JupyterLab in the folder of notebooks
	$(RUN) -m jupyterlab notebooks

notebooks: $(READY)  ## execute the committed notebooks in place, with the parameters written in them
	$(RUN) -m asxai.run notebooks

# Without the CUDA packages the lock serves every system.
lock: $(READY)  ## write the versions that are now in .venv to requirements.lock, and their hashes
	@$(RUN) -m pip freeze --all --exclude-editable --exclude asxai --exclude pip > $(VENV)/freeze.txt
	@{ echo '# Exact versions of everything in .venv; `make lock` writes this file. Left out are the CUDA packages'; \
	   echo '# (cuda-*, nvidia-*, triton): they exist for Linux only, and torch pins them in its own metadata.'; \
	   grep -Ev '^(nvidia-|cuda-|triton=)' $(VENV)/freeze.txt | LC_ALL=C sort -f; } > requirements.lock
	$(RUN) -m pip install --quiet --target $(VENV)/lock uv  # knows all systems; pip only this one
	@{ echo '# The versions of requirements.lock, and those that other systems need besides, with the hash of every wheel:'; \
	   echo '# what `make setup` installs. `make lock` writes both files.'; \
	   $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	   --no-annotate --no-header --no-emit-index-url requirements.lock; } > $(VENV)/hashes.txt
	@mv $(VENV)/hashes.txt requirements.hashes && touch $(READY)

clean:  ## remove runs/: trained studies, cached features, executed notebooks
	rm -rf runs

# --no-compile: Python compiles a module when it is first imported, and most of the packages' modules never are. Two
# processes unpack: what is for a GPU makes up two thirds of the bytes, all else nine tenths of the files.
#
# .ready says that .venv is complete, for this folder, and newer than what it is made from. While packages are being
# installed .half-done stands there instead: found at the start, it means that the last set-up was killed; .venv is
# then made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): requirements.lock requirements.hashes pyproject.toml
	@found=; for python in "$$ASXAI_PYTHON" python3.11 python3.12 python3.13 python3.14; do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && found=$$python && break; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed; '$$ASXAI_PYTHON' is: $$("$$ASXAI_PYTHON" --version 2>&1)" >&2; \
	  echo "Name another: make PYTHON=/path/to/python3 ... (on Debian and Ubuntu, venv is in python3-venv)" >&2; \
	  exit 1; \
	fi; \
	set -e; \
	if [ -e $(HALF_DONE) ]; then rm -rf $(VENV); fi; \
	mkdir -p $(VENV); rm -f $(READY); touch $(HALF_DONE); \
	echo "setting up $(VENV) with $$("$$found" --version); the first time, this takes some minutes"; \
	"$$found" -m venv $(VENV)
	@mkdir -p $(VENV)/tmp  # /tmp may be too small for what is unpacked
	@awk -v to=$(VENV)/tmp/part '/^[^ ]/ { gpu = /^(cuda|nvidia|triton)-?/ } { print > (to gpu) }' requirements.hashes
	printf '%s\n' 0 1 | TMPDIR="$$PWD/$(VENV)/tmp" xargs -P 2 -I NUMBER $(RUN) -m pip install --quiet --no-compile \
	  --no-deps --require-hashes --only-binary :all: --requirement $(VENV)/tmp/partNUMBER || { rm $(HALF_DONE); exit 1; }
	@rm $(HALF_DONE)
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@pwd -P > $(READY)
