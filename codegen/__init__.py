"""From a graph to the text of kernels: nothing here runs any.

The stages, in the order in which a graph passes through them:

1. `prepare` rewrites what no kernel could compute; `hoist` takes late scalars out of sums.
2. `axes` finds which dimensions run together; `views` and `bindings` say what lies where in memory.
3. `schedule` makes kernels one after another. Of each, `fusion` says which nodes it takes; `uses`,
   `blocks` and `gpu_blocks` how large its tiles are; `lower` what its ops become, with `levels`,
   `placement` and `kernel_builder`. The result is the tile IR (`tile`), which `verify` checks.
4. For C, `nesting` makes nests of loops of the tile IR (`loops` is their IR) and `blocking` their
   products; `c_text` prints them with the other files in `c_`. `products`, `partial_sums`,
   `angles`, `resident` and `sharing` decide for it.
5. For a GPU, `epoch_choice` and `epoch` decide what one launch runs; `triton_text` and the other
   files in `triton_` print the tile IR.

`machine` is what is known of a target, `cost` and `reuse` count what a kernel takes, `spelling`
has every op in both targets, `program` is what the runtime gets.
"""
