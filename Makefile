# `make` alone lists the commands.
PYTHON ?= python3
VENV = .venv
RUN = $(VENV)/bin/python
TEST = -m pytest -q -n 2 --dist loadgroup
TEX = latexmk texlive-latex-base texlive-latex-recommended texlive-fonts-recommended texlive-science lmodern

# Many desktops set a variable LANGUAGE: only the command line's is meant.
ifeq ($(origin LANGUAGE),command line)
export LAB_LANGUAGE := $(LANGUAGE)
unexport LANGUAGE
TEX += $(addprefix texlive-lang-,$(filter-out english,$(LANGUAGE)))
endif

# Tools and notebooks read and write UTF-8 whatever the locale is.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help quick test test-long test-oldest reproduce plan retrain photos check mutate bench baselines demo screenshot collect exam submission rubric pages sync report install-tex

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

quick: $(VENV)/installed ## set up .venv, run the five notebooks on small digits, build build/quick/report.pdf; LANGUAGE=french writes in French
	@$(RUN) tools/notebooks.py run quick
	@$(RUN) tools/report.py quick

test: $(VENV)/installed ## set up .venv, run the tests
	@$(RUN) $(TEST)

test-long: $(VENV)/browser ## the tests that take longer, too; those of the page need Chromium
	@$(RUN) $(TEST) -m "long or not long"

test-oldest: $(VENV)-oldest/installed ## the tests with the oldest supported versions
	@$(VENV)-oldest/bin/python $(TEST)

reproduce: $(VENV)/installed ## run the five notebooks on the real data with the committed runs, build report/report.pdf; LANGUAGE=french too
	@$(RUN) tools/notebooks.py run full
	@$(RUN) tools/report.py readme
	@$(RUN) tools/report.py last

plan: $(VENV)/installed ## list what is to be trained: finished, missing, cost here; RUNS='cifar10/improved/*' narrows it
	@$(RUN) tools/plan.py list $(foreach pattern,$(RUNS),'$(pattern)')

retrain: $(VENV)/$(if $(SCHEDULER),cluster,installed) ## train again; RUNS='cifar10/improved/*', RUNS=missing or RUNS=grader (one seed of each) narrows it; WORKERS=2 or SCHEDULER=tcp://host:8786 spreads it
	@$(RUN) tools/plan.py train $(foreach pattern,$(RUNS),'$(pattern)') $(if $(WORKERS),--workers '$(WORKERS)') $(if $(SCHEDULER),--scheduler '$(SCHEDULER)')

photos: $(VENV)/installed ## run the five notebooks on your own pictures: FOLDER=photos/ (PROFILE=quick trains for seconds)
	@$(RUN) tools/notebooks.py on "$$FOLDER" $(or $(PROFILE),full)
	@$(RUN) tools/report.py last

check: $(VENV)/installed ## recompute metrics, hashes, stamps and printed numbers; name what is stale or differs; CLAIMS=1 instead lists the sentences that compare
	@$(RUN) tools/check.py $(if $(CLAIMS),--claims)

mutate: $(VENV)/installed ## damage a copy in some 200 ways, print which of them make check names (up to 40 minutes)
	@$(RUN) tools/mutate.py

bench: $(VENV)/installed ## measure the speed of training beside plain model.fit and beside the machine's limit (seven minutes)
	@$(RUN) tools/bench.py

baselines: $(VENV)/installed ## train two well-known networks as long as our earlier improved one took, or MINUTES=20 each
	@$(RUN) tools/baselines.py $(MINUTES)

demo: $(VENV)/installed ## open a page on this machine that names faces' expressions; INPUT= a photo, video, folder or "--camera 0"
	@$(RUN) -m $(if $(INPUT),apps.demo $(if $(filter --%,$(INPUT)),$(INPUT),"$$INPUT"),apps.page)

screenshot: $(VENV)/browser ## open the demo's page in Chromium, write docs/page.jpg and its speed, data/page.json
	@$(RUN) tools/screenshot.py

collect: $(VENV)/installed ## make a data base of your own on a page: FOLDER=birds/; STEP=agree, split, curve or datasheet does one step
	@$(RUN) -m apps.collect $(or $(STEP),page) "$${FOLDER:-photos}"

exam: $(VENV)/installed ## write a paper to practise on, ten questions of the notebooks and their answers; SEED=7 gives the same again
	@$(RUN) tools/exam.py $(if $(SEED),--seed $(SEED))

submission: $(VENV)/installed ## write build/submission: all in one notebook, the report and its archive; DATASETS=cifar10 or FOLDER=photos/ for one notebook on one set
	@$(RUN) tools/publish.py submission "$${FOLDER:-$$DATASETS}"

rubric: $(VENV)/installed ## say for each demand of an assignment where the hand-in answers it; RUBRIC=cifar10 or the path of your own list
	@$(RUN) tools/rubric.py "$${RUBRIC:-emotions}"

pages: $(VENV)/installed ## write public/: README.md, notebooks and report as web pages
	@$(RUN) tools/publish.py pages

sync: $(VENV)/installed ## write what the notebooks share: Setup cells, links, lab/models.py, lab/taught.py
	@$(RUN) tools/notebooks.py sync

report: $(VENV)/installed ## build report/report.pdf from what the notebooks wrote
	@$(RUN) tools/report.py full

install-tex: ## install the smallest sufficient TeX Live (Debian, Ubuntu); LANGUAGE=french adds French
	@sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(TEX)

# One environment a folder; brought up to date when what it must hold has changed.
$(VENV)/installed: requirements.txt tools/requirements.txt
	@$(PYTHON) tools/venv.py $(VENV)
$(VENV)/browser: tools/browser.txt $(VENV)/installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r tools/browser.txt && touch $@
$(VENV)/cluster: requirements-cluster.txt $(VENV)/installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-cluster.txt && touch $@
$(VENV)-oldest/installed: requirements.txt tools/requirements.txt tools/oldest.txt
	@$(PYTHON) tools/venv.py $(VENV)-oldest --constraint tools/oldest.txt
