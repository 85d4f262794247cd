# make demo             the whole method on a small data set, on a CPU, in minutes
# make demo DATA=elpv   the same on real solar cells, which are installed for it
# make demo DATA=neu    the same on a folder of your own with one folder of images for each class
# make test             all tests
# make check            ruff and pyright
# make clean            removes .venv and what the demos made; your own runs stay
# Each makes its own virtual environment in .venv first. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
DATA ?= demo-data
WEIGHTS ?= weights/nano
ITERATIONS ?= 60
NUMBER ?= 40
STEPS ?=

.PHONY: demo test check clean

demo:
	$(PYTHON) -m stablesdg.demo --data "$(DATA)" --weights "$(WEIGHTS)" --iterations $(ITERATIONS) --number $(NUMBER) $(if $(STEPS),--steps $(STEPS))

test:
	$(PYTHON) -m stablesdg.test

check:
	$(PYTHON) -m stablesdg.check

clean:
	rm -rf .venv demo-data demo-data.partial elpv elpv.partial runs/demo-data runs/elpv
