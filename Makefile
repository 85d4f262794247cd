# make demo             the whole method on a small data set, on a CPU, in minutes
# make demo DATA=neu    the same on a folder of your own with one folder of images for each class
# make test             all tests
# Each makes its own virtual environment in .venv first. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
PY := .venv/bin/python
DATA ?= demo-data
WEIGHTS ?= weights/nano
ITERATIONS ?= 60
NUMBER ?= 40
EPOCHS ?= 8

.PHONY: demo test clean

demo: .venv/installed $(filter demo-data,$(DATA))
	@set -e; test -d "$(DATA)" || { echo "There is no folder $(DATA)."; exit 1; }; \
	runs="runs/$$(basename "$$(cd "$(DATA)" && pwd -P)")"; for folder in "$(DATA)"/*/; do \
	    ls "$$folder" | grep -qiE '\.(jpe?g|png|bmp|tiff?)$$' || continue; \
	    category=$$(basename "$$folder"); \
	    echo "== $$category: token embedding"; \
	    $(PY) train_ti.py --data "$$folder" --weights "$(WEIGHTS)" --iterations $(ITERATIONS); \
	    echo "== $$category: LoRA"; \
	    $(PY) train_lora.py --rank 1 --data "$$folder" --weights "$(WEIGHTS)" --iterations $(ITERATIONS); \
	    echo "== $$category: image-oriented generation"; \
	    $(PY) sample.py --run "$$runs/$$category" --number $(NUMBER) --sampler dpm --steps 25; \
	    $(PY) fid.py "$$folder" "$$runs/$$category/samples" --features nano; \
	done; \
	echo "== recognition, real images alone"; \
	$(PY) classify.py --data "$(DATA)" --mode none --epochs $(EPOCHS); \
	echo "== recognition, the same real images and the generated ones"; \
	$(PY) classify.py --data "$(DATA)" --mode expand --generated "$$runs" --epochs $(EPOCHS); \
	echo "Look at $$runs/*/preview-samples.png and $$runs/classify/results.csv"

test: .venv/installed-tests
	$(PY) -m pytest -q tests

demo-data: | .venv/installed
	$(PY) -m stablesdg.steel demo-data.partial
	mv demo-data.partial demo-data

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install -q -r requirements.txt
	@touch $@

.venv/installed-tests: .venv/installed tests/requirements.txt
	$(PY) -m pip install -q -r tests/requirements.txt
	@touch $@

clean:
	rm -rf .venv demo-data demo-data.partial runs
