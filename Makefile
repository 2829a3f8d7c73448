# One command per purpose; `make` alone lists them. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
HALF_DONE := $(VENV)/.half-done

# glibc gives each freed tensor back to the system and asks for it again, which takes longer than filling it: keep it.
# Measured: a training step of the whole backbone 0.72 s instead of 1.84 s. Other systems ignore the two variables.
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 2147483647

# DATASET=<registered name or folder of pictures>  NOTEBOOKS="01 02_prototypes"  PARAMS="name=value name=value"
# make takes any name without a word, so that NOTEBOOK=10 would run everything: what is not known is an error.
KNOWN := DATASET NOTEBOOKS PARAMS PYTHON MALLOC_%
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN) MAKE% -%,$(GIVEN))
$(if $(UNKNOWN),$(error unknown: $(UNKNOWN); known are $(filter-out %_%,$(KNOWN))))
ARGUMENTS = $(if $(DATASET),--dataset '$(DATASET)') $(if $(NOTEBOOKS),--notebooks $(NOTEBOOKS)) \
	$(foreach parameter,$(PARAMS),-p '$(parameter)')

# The tests execute the committed notebooks too: with the trained studies in runs/, with a copy of the figures, where they
# find the tables of the last `make study`, and without progress bars. nbval starts the kernel of this very environment
# and compares the cells tagged for it. Two notebooks at a time, for much of what they do takes one core: after the
# first, which trains what all others load, and from the one that takes longest. Threads that wait must not spin then.
NBVAL = ASXAI_FIGURES='$(CURDIR)/runs/tests/figures' ASXAI_PROGRESS=/dev/null OMP_WAIT_POLICY=PASSIVE \
	$(RUN) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=7200
FIRST := $(wildcard notebooks/01_train.ipynb)
LONGEST := $(wildcard notebooks/05_ood.ipynb)
OTHERS := $(filter-out $(FIRST) $(LONGEST),$(wildcard notebooks/*.ipynb))

.DEFAULT_GOAL := help
.PHONY: help setup figures study test bench lab notebooks lock clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "make %-10s %s\n", $$1, $$2 }'
	@echo
	@echo 'figures and study also take:'
	@echo '  DATASET=<name or folder>  a registered data set, or a folder with one subfolder of pictures per class'
	@echo '  NOTEBOOKS="01 02 ..."     some of the notebooks, by pieces of their names'
	@echo '  PARAMS="name=value ..."   other values for the parameters of the notebooks (no spaces inside a value)'

# Only what is asked for and is not here comes to this rule.
.DEFAULT:
	@echo "there is no '$@'; \`make\` alone lists what there is" >&2; exit 2

setup: $(READY)  ## the Python environment .venv, with the exact versions of requirements.lock

figures: $(READY)  ## every figure: executes the notebooks that are not up to date
	$(RUN) -m asxai.run figures $(ARGUMENTS)

study: $(READY)  ## the same with the long protocol: the trainings of the full study
	$(RUN) -m asxai.run study $(ARGUMENTS)

test: $(READY)  ## the tests, then every committed notebook: it runs, and its checked numbers come out again
	$(RUN) -m pytest -n 2 --dist loadfile tests
	@rm -rf runs/tests/figures && mkdir -p runs/tests && cp -r figures runs/tests/figures
	$(if $(FIRST),$(NBVAL) $(FIRST))
	$(if $(LONGEST)$(OTHERS),$(NBVAL) -n 2 --dist loadfile $(LONGEST) $(OTHERS))

bench: $(READY)  ## the table of measurements
	$(RUN) -m asxai.benchmarks.speed

lab: $(READY)  ## JupyterLab in the folder of notebooks
	$(RUN) -m jupyterlab notebooks

notebooks: $(READY)  ## execute the committed notebooks in place, with the parameters written in them
	$(RUN) -m asxai.run notebooks $(if $(NOTEBOOKS),--notebooks $(NOTEBOOKS))

# Without the CUDA packages the lock serves every system.
lock: $(READY)  ## write the versions that are now in .venv to requirements.lock
	@$(RUN) -m pip freeze --all --exclude-editable --exclude asxai --exclude pip > $(VENV)/freeze.txt
	@{ echo '# Exact versions of everything in .venv; `make lock` writes this file. Left out are the CUDA packages'; \
	   echo '# (cuda-*, nvidia-*, triton): they exist for Linux only, and torch pins them in its own metadata.'; \
	   grep -Ev '^(nvidia-|cuda-|triton=)' $(VENV)/freeze.txt | LC_ALL=C sort -f; } > requirements.lock
	@touch $(READY)

clean:  ## remove runs/: trained studies, cached features, executed notebooks
	rm -rf runs

# --no-compile: Python compiles a module when it is first imported, and most of the packages' modules never are.
#
# .ready says that .venv is complete, for this folder, and newer than what it is made from. While packages are being
# installed .half-done stands there instead: found at the start, it means that the last set-up was killed; .venv is
# then made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): requirements.lock pyproject.toml
	@found=; for python in '$(PYTHON)' python3.11 python3.12 python3.13 python3.14; do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && found=$$python && break; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed; '$(PYTHON)' is: $$('$(PYTHON)' --version 2>&1)" >&2; \
	  echo "Name another: make PYTHON=/path/to/python3 ... (on Debian and Ubuntu, venv is in python3-venv)" >&2; \
	  exit 1; \
	fi; \
	set -e; \
	if [ -e $(HALF_DONE) ]; then rm -rf $(VENV); fi; \
	mkdir -p $(VENV); rm -f $(READY); touch $(HALF_DONE); \
	echo "setting up $(VENV) with $$("$$found" --version); the first time, this takes some minutes"; \
	"$$found" -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile --requirement requirements.lock || { rm $(HALF_DONE); exit 1; }
	@rm $(HALF_DONE)
	$(RUN) -m pip install --quiet --no-deps --editable .
	@echo '$(CURDIR)' > $(READY)
