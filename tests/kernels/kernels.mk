# `make kernels` and `make verify`, included by the Makefile.
.PHONY: kernels verify

kernels: ## run the tests on other kernels, in QEMU (root; K="5.10 6.1" for some of them)
	@scripts/setup test
	@tests/kernels/setup
	@$(MAKE) --no-print-directory build
	@$(PY) -m tests.kernels.matrix $(addprefix -k ,$(K)) $(KERNELS)

verify: ## print what the verifier makes of each program on this kernel (root; K=5.10 for another)
	@$(MAKE) --no-print-directory build
	@$(if $(K),$(PY) -m tests.kernels $(addprefix -k ,$(K)) --) $(PY) -m tests.kernels.verify --details
