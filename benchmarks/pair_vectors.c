/* Counting of pairs and adaptive steps as command-line tools for word vectors do them: the peer of bench_words_vectors.

   Both keep the pair in both orders and numbers in double precision. Counting has a dense table for pairs of common
   words, as many as 4 GB allow, and a buffer for all others that is sorted whenever it is full; equal neighbours are
   added up and the sorted runs merged. The steps take the logarithm and the power of each count whenever they meet it.
   Reading text, looking words up and files between the steps are left out, in favour of this side. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int32_t i, j;
    double x;
} Record;

static int by_pair(const void *a, const void *b) {
    const Record *p = a, *q = b;
    if (p->i != q->i) return p->i < q->i ? -1 : 1;
    return (p->j > q->j) - (p->j < q->j);
}

/* Add up equal neighbours of sorted records; returns how many remain. */
static int64_t added_up(Record *records, int64_t n) {
    int64_t kept = 0;
    for (int64_t k = 0; k < n; k++) {
        if (kept && records[kept - 1].i == records[k].i && records[kept - 1].j == records[k].j)
            records[kept - 1].x += records[k].x;
        else
            records[kept++] = records[k];
    }
    return kept;
}

/* ids: words 0 .. n_words - 1 by falling count, -1 between documents. Fills `out`, which has room for `room` records;
   returns how many pairs of different words there are in both orders, or -1 where memory or room is short. */
int64_t count_pairs(const int32_t *ids, int64_t n, int32_t n_words, int32_t window, Record *out, int64_t room) {
    const double records = 0.85 * 4.0 * 1073741824.0 / sizeof(Record);
    double product = 1e5; /* of the ranks of a pair up to which it has a place in the table */
    while (fabs(records - product * (log(product) + 0.1544313298)) > 1e-3)
        product = records / (log(product) + 0.1544313298);
    const int64_t most = (int64_t)product, buffer = (int64_t)records / 6;
    int64_t *start = malloc((n_words + 1) * sizeof *start);
    if (!start) return -1;
    start[0] = 0;
    for (int32_t w = 0; w < n_words; w++) {
        const int64_t row = most / (w + 1);
        start[w + 1] = start[w] + (row < n_words ? row : n_words);
    }
    double *table = calloc(start[n_words], sizeof *table);
    Record *rest = malloc(buffer * sizeof *rest);
    int64_t runs[4096], n_runs = 0, filled = 0, made = -1;
    Record *sorted[4096];
    if (!table || !rest) goto end;
    for (int64_t p = 0; p < n; p++) {
        const int32_t a = ids[p];
        if (a < 0) continue;
        if (filled + 2 * window > buffer) {
            qsort(rest, filled, sizeof *rest, by_pair);
            runs[n_runs] = added_up(rest, filled);
            sorted[n_runs] = malloc(runs[n_runs] * sizeof *rest);
            if (!sorted[n_runs]) goto end;
            memcpy(sorted[n_runs], rest, runs[n_runs] * sizeof *rest);
            if (++n_runs == 4095) goto end;
            filled = 0;
        }
        for (int64_t q = p - 1; q >= p - window && q >= 0 && ids[q] >= 0; q--) {
            const int32_t b = ids[q];
            if (a == b) continue;
            if ((int64_t)(a + 1) * (b + 1) <= most) {
                table[start[a] + b] += 1;
                table[start[b] + a] += 1;
            } else {
                rest[filled++] = (Record){a, b, 1};
                rest[filled++] = (Record){b, a, 1};
            }
        }
    }
    qsort(rest, filled, sizeof *rest, by_pair);
    runs[n_runs] = added_up(rest, filled);
    sorted[n_runs++] = rest;
    made = 0;
    for (int32_t w = 0; w < n_words; w++)
        for (int64_t k = start[w]; k < start[w + 1]; k++)
            if (table[k] != 0) {
                if (made == room) goto end;
                out[made++] = (Record){w, (int32_t)(k - start[w]), table[k]};
            }
    if (n_runs == 1) {
        if (made + runs[0] > room) { made = -1; goto end; }
        memcpy(out + made, rest, runs[0] * sizeof *rest);
        made += runs[0];
    } else { /* several runs: sorted together */
        const int64_t before = made;
        for (int64_t r = 0; r < n_runs; r++) {
            if (made + runs[r] > room) { made = -1; goto end; }
            memcpy(out + made, sorted[r], runs[r] * sizeof *rest);
            made += runs[r];
        }
        qsort(out + before, made - before, sizeof *out, by_pair);
        made = before + added_up(out + before, made - before);
    }
end:
    for (int64_t r = 0; r < n_runs; r++)
        if (sorted[r] != rest) free(sorted[r]);
    free(start);
    free(table);
    free(rest);
    return made;
}

/* One pass over records in both orders; `constant` + log x - logs[i] - logs[j] is what the inner product shall be.
   Returns the weighted sum of squared errors met on the way. */
double adagrad_pass(const Record *records, int64_t n, const double *logs, double constant, int32_t dim, double x_max,
                    double alpha, double rate, double *vectors, double *squares) {
    double loss = 0;
    for (int64_t k = 0; k < n; k++) {
        double *a = vectors + (int64_t)records[k].i * dim, *b = vectors + (int64_t)records[k].j * dim;
        double *g = squares + (int64_t)records[k].i * dim, *h = squares + (int64_t)records[k].j * dim;
        double error = 0;
        for (int32_t c = 0; c < dim; c++) error += a[c] * b[c];
        error -= log(records[k].x) + constant - logs[records[k].i] - logs[records[k].j];
        const double weight = records[k].x < x_max ? pow(records[k].x / x_max, alpha) : 1, pull = weight * error;
        loss += pull * error;
        for (int32_t c = 0; c < dim; c++) {
            const double s = pull * b[c], t = pull * a[c];
            g[c] += s * s;
            h[c] += t * t;
            a[c] -= rate * s / sqrt(g[c]);
            b[c] -= rate * t / sqrt(h[c]);
        }
    }
    return loss;
}
