"""How kernels are built, cached and launched, and the training loop around them.

A call: `compiled` finds the `entry` of its signature; `backends` builds it and gives an
`executable`, which allocates, binds sizes and runs; `direct` is the short way of later calls in C;
`autograd` makes it differentiable by torch.

A training: `train_checks` looks at what was passed, `step` traces the whole step, `train` compiles
it, `epochs` runs it with an optimizer of `optim`, and `history` is what is handed back.

C: `toolchain` builds and `cache` keeps. A GPU: `devices` names it, `fitting` asks its compiler
(`resources`) about blocks, `ways` chooses launches, `triton_launch` and `cuda` make them;
`interpret` does so on the CPU. `tuning` measures what these only model.

To look: `explain` with `costs` and `roofline`, `page`, `check`, `debug`, `doctor`, `cli`.
"""
