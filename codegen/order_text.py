"""C text of an epoch's order of rows, as `graphir.row_order` has it."""

from __future__ import annotations

from graphir.row_order import MULTIPLIERS, SHIFTS

ORDER_ENTRY = "graphir_order"
_BLOCK = 64  # cells side by side

C_ORDER = f"""
/* A number from 0 to size - 1 for each number. */
static inline uint32_t moved(uint32_t x, uint32_t key, uint32_t size) {{
    x ^= key;
    x = (x ^ (x >> {SHIFTS[0]})) * {MULTIPLIERS[0]:#x}u;
    x = (x ^ (x >> {SHIFTS[1]})) * {MULTIPLIERS[1]:#x}u;
    x ^= x >> {SHIFTS[2]};
    return (uint32_t)(((uint64_t)(x >> 1) * size) >> 31);
}}

/* The numbers 0 to rows - 1 in the order of the keys: a Feistel network over the cells of a table
   of lines and columns, without those beyond the rows. */
void {ORDER_ENTRY}(int64_t *order, int64_t rows, uint32_t lines, uint32_t columns,
                   const uint32_t *keys) {{
    for (uint32_t first = 0; first < lines; first++) {{
        const uint32_t shift = moved(first, keys[0], columns);
        for (uint32_t from = 0; from < columns; from += {_BLOCK}) {{
            const uint32_t count = columns - from < {_BLOCK} ? columns - from : {_BLOCK};
            int64_t cells[{_BLOCK}];
            #pragma omp simd
            for (uint32_t k = 0; k < count; k++) {{
                uint32_t line = first, column = from + k;
                column += shift;
                column -= column >= columns ? columns : 0;
                line += moved(column, keys[1], lines);
                line -= line >= lines ? lines : 0;
                column += moved(line, keys[2], columns);
                column -= column >= columns ? columns : 0;
                line += moved(column, keys[3], lines);
                line -= line >= lines ? lines : 0;
                cells[k] = (int64_t)((uint64_t)line * columns + column);
            }}
            for (uint32_t k = 0; k < count; k++)
                if (cells[k] < rows) *order++ = cells[k];
        }}
    }}
}}
"""
