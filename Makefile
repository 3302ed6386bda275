# Every target does its own set-up: `make demo` and `make test` start from Python >= 3.10 and nothing else.
#   demo          light environment (no TensorFlow), then the whole main job
#   test          lint, host tests, then the device path in the legacy environment
#   lint          ruff and mypy --strict
#   test-slow     tests that train or convert real networks
#   test-realsky  only the tests on the shared real pictures; fails when the pictures are absent
#   test-peers    tests against real programs: browser, cloud-init, servers
#   test-night    a day of frames, kills, a full disk, broken files: 15 minutes
#   test-arm64    the shipped networks and the device path on emulated ARM cores, against this machine
#   bench         latency of the shipped bundle on this machine
#   zoo           train, export and measure the shipped bundle again (hours on two cores; needs the shared pictures)
#   detectors     train the published detectors beside the shipped one's architecture and measure them (hours, likewise)
#   pins          resolve constraints/*.txt again
#   clean         remove environments and everything built

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: demo test lint test-host test-legacy test-slow test-realsky test-peers test-night test-arm64 bench zoo detectors pins clean

comma := ,
# The first interpreter that really starts (a version manager leaves names that do not) and fits a range.
runs = $$p -c 'import sys, ensurepip; sys.exit(not $(1))' >/dev/null 2>&1 && echo $$p && break
ANY := sys.version_info >= (3, 10)
PINNED := (3, 10) <= sys.version_info < (3, 14)
# The last tflite-runtime was built for Python 3.11.
LEGACY := (3, 10) <= sys.version_info < (3, 12)
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do $(call runs,$(PINNED)); done)
endif
ifeq ($(PYTHON),)
PYTHON := $(shell for p in python3 python3.14; do $(call runs,$(ANY)); done)
endif
LEGACY_PYTHON := $(shell for p in $(PYTHON) python3.11 python3.10; do $(call runs,$(LEGACY)); done)

ifeq ($(filter clean,$(MAKECMDGOALS)),)
ifeq ($(PYTHON),)
$(error no Python >= 3.10 with venv found; on Debian: apt install python3-venv; or: make PYTHON=/path/to/python3)
endif
endif

PACKAGES := edgegal tuner export benchmarks device
CHECKED := $(PACKAGES) tests constraints
# One thread per test process: the same figures everywhere, and no fight for two cores.
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
# With oneDNN, TensorFlow 2.21 can corrupt its heap in the gradient of a strided 1x1 convolution.
export TF_ENABLE_ONEDNN_OPTS ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start a hundred interpreters: what one has compiled the next need not.
unexport PYTHONDONTWRITEBYTECODE

# $(1) interpreter, $(2) environment, $(3) extras, $(4) pins. The build backend comes first and pinned, so that nothing
# is fetched outside the pins.
define install
$(1) -m venv $(2)
$(2)/bin/python -m pip install --quiet -c $(4) setuptools
$(2)/bin/python -m pip install --quiet --no-build-isolation -c $(4) -e '.[$(3)]'
touch $(2)/.installed
endef

.venv-device/.installed: pyproject.toml constraints/device.txt
	$(call install,$(PYTHON),.venv-device,demo$(comma)tflite,constraints/device.txt)

.venv/.installed: pyproject.toml constraints/host.txt
	$(call install,$(PYTHON),.venv,all$(comma)dev,constraints/host.txt)

ifneq ($(LEGACY_PYTHON),)
.venv-legacy/.installed: pyproject.toml constraints/legacy.txt
	$(call install,$(LEGACY_PYTHON),.venv-legacy,demo$(comma)tflite-legacy$(comma)test,constraints/legacy.txt)
else
.venv-legacy/.installed: pyproject.toml constraints/device.txt
	@echo 'No Python below 3.12 here, so no tflite-runtime: the device path is tested with litert instead.'
	$(call install,$(PYTHON),.venv-legacy,demo$(comma)tflite$(comma)test,constraints/device.txt)
endif

demo: .venv-device/.installed
	.venv-device/bin/edgegal demo --out out/demo

test: lint test-host test-legacy

lint: .venv/.installed
	.venv/bin/ruff format --check $(CHECKED)
	.venv/bin/ruff check $(CHECKED)
# mypy reads packages from folders that look like the import names; the mapping in pyproject.toml does not.
	rm -rf build/typing && mkdir -p build/typing/edgegal
	ln -s $(foreach path,$(wildcard edgegal/*),$(CURDIR)/$(path)) build/typing/edgegal/
	ln -s $(foreach path,tuner export benchmarks device,$(CURDIR)/$(path)) build/typing/edgegal/
	MYPYPATH=build/typing .venv/bin/mypy --num-workers 2 -p edgegal

# -v against the -q of pyproject.toml gives the closing line with the counts; -rs says what was skipped and why.
test-host: .venv/.installed
	.venv/bin/python -m pytest -v -rs -n 2 --dist loadfile --max-worker-restart 0 -m 'not peers and not slow' --durations=10

test-legacy: .venv-legacy/.installed
	.venv-legacy/bin/python -c 'import sys, numpy; print("device path on Python", sys.version.split()[0], "numpy", numpy.__version__)'
	.venv-legacy/bin/python -m pytest -v -rs -n 2 --dist loadfile --max-worker-restart 0 -m 'not host and not peers and not slow'

test-slow: .venv/.installed
	.venv/bin/python -m pytest -v -rs -n 2 --dist load --max-worker-restart 0 -m slow --durations=5

test-realsky: .venv/.installed
	@test -d "$${EDGEGAL_SHARED_DATA:-../shared/data}" || { echo 'no shared pictures: set EDGEGAL_SHARED_DATA' >&2; exit 1; }
	.venv/bin/python -m pytest -v -m realsky

test-peers: .venv/.installed
	tests/peers/install
	.venv/bin/python -m pytest -v -m peers tests/peers

test-night: .venv/.installed
	.venv/bin/python -m pytest -v -rs -m night tests/endurance

test-arm64: .venv/.installed .venv-legacy/.installed
	tests/arm64/install
	.venv/bin/python -m pytest -v -rs -m arm64 tests/arm64 --durations=5

bench: .venv/.installed
	.venv/bin/edgegal bench --out out/bench

ZOO := build/zoo
ZOO_TRAIN := env -u OMP_NUM_THREADS .venv/bin/edgegal train classifier --data gz2_kaggle_5class --data gz1_6class
ZOO_SIX := $(ZOO_TRAIN) --scheme galaxy6 --pairs 500
ZOO_FOUR := $(ZOO_TRAIN) --scheme h4 --pairs 500
ZOO_TAUGHT := $(foreach i,1 2 3,--teacher $(ZOO)/teacher$(i))
ZOO_ENSEMBLE := $(ZOO_TAUGHT) $(foreach i,0 1 2,--teacher $(ZOO)/six$(i) --teacher $(ZOO)/first$(i))
ZOO_LOOKS := --epochs 0 --size 160 --crop-scale 2 --zoom 1.25 --zoom 1.6667
ZOO_LOOKS_64 := --epochs 0 --size 96 --crop-scale 1.8 --zoom 1.2 --zoom 1.5
zoo: .venv/.installed
	$(ZOO_SIX) --architecture efficientnet-lite0 --epochs 10 --seed 1 --crop-scale 1.4 --out $(ZOO)/teacher1
	$(ZOO_SIX) --architecture efficientnet-lite0 --epochs 10 --seed 2 --size 128 --out $(ZOO)/teacher2
	$(ZOO_SIX) --architecture efficientnet-lite0 --epochs 10 --seed 3 --size 128 --crop-scale 2 --out $(ZOO)/teacher3
	$(ZOO_SIX) --teacher $(ZOO)/teacher1 --size 64 --crop-scale 1.4 --epochs 70 --balance 0.75 --adjust 0.2 --simulated 500 --out $(ZOO)/classifier
	for i in 0 1 2; do \
	    $(ZOO_SIX) $(ZOO_TAUGHT) --epochs 42 --balance 0.6 --seed $$i --out $(ZOO)/six$$i; \
	    $(ZOO_FOUR) $(ZOO_TAUGHT) --epochs 42 --balance 1 --seed $$i --out $(ZOO)/first$$i; done
	$(ZOO_FOUR) --start $(ZOO)/first2 --seed 102 $(ZOO_ENSEMBLE) --epochs 8 --rate 0.0015 --balance 0.6 --even 0.55 --keep 0.5 --adjust 0.15 --out $(ZOO)/four
	$(ZOO_TRAIN) --scheme h4 $(ZOO_LOOKS) --start $(ZOO)/four --out $(ZOO)/four-looks
	$(ZOO_TRAIN) --scheme galaxy6 $(ZOO_LOOKS_64) --start $(ZOO)/classifier --out $(ZOO)/six-looks
	for i in 0 1 2; do \
	    $(ZOO_FOUR) --start $(ZOO)/four --teacher $(ZOO)/four-looks --teacher $(ZOO)/six-looks --epochs 12 --rate 0.002 --balance 0.6 --even 0.5 --seed $$i --out $(ZOO)/third$$i; done
	$(ZOO_TRAIN) --scheme h4 $(ZOO_LOOKS) --mirrored $(foreach i,0 1 2,--start $(ZOO)/third$(i)) --adjust 0.08 --out $(ZOO)/four-classes
	env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --fields 6000 --epochs 7 --out $(ZOO)/detector1
	env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --fields 5000 --epochs 3 --start $(ZOO)/detector1 --rate 1e-3 --seed 1 --out $(ZOO)/detector2
	env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --architecture ssdlite-mobilenet-v2-topdown --fields 12000 --epochs 5 --start $(ZOO)/detector2 --rate 1e-3 --seed 2 --out $(ZOO)/detector3
	env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --architecture ssdlite-mobilenet-v2-topdown --fields 16000 --epochs 8 --start $(ZOO)/detector3 --seed 3 --out $(ZOO)/detector4
	env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --architecture ssdlite-mobilenet-v2-topdown --fields 12800 --epochs 8 --start $(ZOO)/detector4 --seed 4 --out $(ZOO)/detector5
	env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --architecture ssdlite-mobilenet-v2-topdown --fields 10400 --epochs 8 --start $(ZOO)/detector5 --seed 5 --out $(ZOO)/detector
	.venv/bin/edgegal export $(ZOO)/detector $(ZOO)/six-looks --calibration gz2_kaggle_5class --name galaxies --evaluation 100 --out edgegal/zoo/galaxies
	.venv/bin/edgegal export $(ZOO)/four-classes --calibration gz2_kaggle_5class --name four-classes --evaluation 100 --out edgegal/zoo/four-classes
	.venv/bin/edgegal compare edgegal/zoo/galaxies --record
	.venv/bin/edgegal compare edgegal/zoo/galaxies --data gz2_kaggle_5class --record
	.venv/bin/edgegal compare edgegal/zoo/galaxies --data cutouts:gz2_kaggle_5class --data composed:gz2_kaggle_5class --record
	.venv/bin/edgegal compare edgegal/zoo/galaxies --data gz2_kaggle_5class --data gz1_6class --scheme h4 --record
	.venv/bin/edgegal compare edgegal/zoo/four-classes --record
	.venv/bin/edgegal compare edgegal/zoo/four-classes --data gz2_kaggle_5class --data gz1_6class --scheme h4 --record

DETECTORS := ssd-mobilenet-v2 ssd-mobilenet-v2-fpnlite efficientdet-lite0 ssdlite-mobilenet-v2-topdown
COMPARED := build/compare
detectors: .venv/.installed
	for kind in $(DETECTORS); do test -d $(COMPARED)/bundles/$$kind && continue; \
	    case $$kind in efficientdet-lite0) weights=imagenet;; *) weights=none;; esac; \
	    env -u OMP_NUM_THREADS .venv/bin/edgegal train detector --data gz2_kaggle_5class --data gz1_6class --architecture $$kind --weights $$weights --fields 2400 --epochs 6 --out $(COMPARED)/$$kind; \
	    .venv/bin/edgegal export $(COMPARED)/$$kind --calibration gz2_kaggle_5class --format tflite --precision fp32 --out $(COMPARED)/bundles/$$kind; done
	.venv/bin/edgegal evaluate $(addprefix $(COMPARED)/bundles/,$(DETECTORS)) --precision fp32 --data cutouts:gz2_kaggle_5class --data composed:gz2_kaggle_5class --false-alarms 50 --out $(COMPARED)/judged

PYTHONS ?= python3.10 python3.11 python3.12 python3.13
pins:
	$(PYTHON) constraints/pin.py $(PYTHONS)

clean:
	rm -rf .venv .venv-device .venv-legacy build dist out *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
