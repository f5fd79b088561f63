/* loadgen: fixed-count HTTP/1.1 keep-alive load generator (one epoll thread).
 *   loadgen -p PORT [-h /path] [-c conns] [-n requests] [-b bodyfile] [-r rate/s (open loop)] [-k api-key] [-H "Extra:
 * header"] Sends the body `n` times over `c` connections; understands Content-Length and chunked replies. Prints one
 * JSON line: rps, latency percentiles (total and time to first body byte, us), bytes, errors and its own CPU.  With -r
 * the send times follow a fixed schedule and latency is taken from the scheduled time (no coordinated omission).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
typedef struct {
    int fd, busy, connected;
    char head[8192];
    int hlen, inbody;
    int64_t left;
    int chunked, cst;
    int64_t csz;
    int trailer;
    int64_t t0, tf;
    size_t woff;
    int keep, status;
} conn;
static char *req;
static size_t reqlen;
static int ep, port;
static conn *C;
static int nc = 1;
static long N = 1000, sent, done_, errs, bytes, chunks, non200;
static double rate;
static int64_t *lat, *ttfb;
static long nl;
static int64_t now_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}
static struct sockaddr_in A;
static void dial(conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (void *)&A, sizeof A)) {
        perror("connect");
        exit(2);
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, 4);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {EPOLLIN, {.u32 = (uint32_t)(c - C)}};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    c->busy = 0;
}
static void wr(conn *c) {
    while (c->woff < reqlen) {
        ssize_t n = send(c->fd, req + c->woff, reqlen - c->woff, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) {
                struct epoll_event e = {EPOLLIN | EPOLLOUT, {.u32 = (uint32_t)(c - C)}};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
            }
            return;
        }
        c->woff += n;
    }
}
static void start(conn *c, int64_t t0) {
    c->busy = 1;
    c->t0 = t0;
    c->tf = 0;
    c->hlen = 0;
    c->inbody = 0;
    c->chunked = 0;
    c->cst = 0;
    c->trailer = 0;
    c->left = 0;
    c->keep = 1;
    c->woff = 0;
    sent++;
    wr(c);
}
static void finish(conn *c, int ok) {
    int64_t t = now_us();
    c->busy = 0;
    done_++;
    if (ok) {
        lat[nl] = t - c->t0;
        ttfb[nl++] = c->tf - c->t0;
        if (c->status != 200)
            non200++;
    } else
        errs++;
    if (!ok || !c->keep) {
        close(c->fd);
        dial(c);
    }
}
/* returns 1 when response is complete */
static int feed(conn *c, char *p, ssize_t n) {
    bytes += n;
    if (!c->inbody) {
        int k = n;
        if (c->hlen + k > (int)sizeof(c->head) - 1)
            k = sizeof(c->head) - 1 - c->hlen;
        memcpy(c->head + c->hlen, p, k);
        int old = c->hlen;
        c->hlen += k;
        c->head[c->hlen] = 0;
        char *e = memmem(c->head, c->hlen, "\r\n\r\n", 4);
        if (!e)
            return 0;
        int hl = e - c->head + 4;
        c->status = atoi(c->head + 9);
        if (c->status == 100) {
            c->hlen = 0;
            p += hl - old;
            n -= hl - old;
            if (n > 0) {
                bytes -= n;
                return feed(c, p, n);
            }
            return 0;
        }
        *e = 0;
        char *q = strcasestr(c->head, "\ncontent-length:");
        c->left = -1;
        if (q)
            c->left = strtoll(q + 16, 0, 10);
        if (strcasestr(c->head, "\ntransfer-encoding: chunked"))
            c->chunked = 1;
        if (strcasestr(c->head, "\nconnection: close"))
            c->keep = 0;
        c->inbody = 1;
        p += hl - old;
        n -= hl - old;
        if (c->left == 0)
            return 1;
    }
    if (n > 0 && !c->tf)
        c->tf = now_us();
    if (!c->chunked) {
        if (c->left < 0) {
            c->keep = 0;
            return 0;
        }
        c->left -= n;
        return c->left <= 0;
    }
    while (n > 0) {
        switch (c->cst) { /* 0 size,1 size-ext/LF,2 data,3 CR,4 LF,5 end */
        case 0: {
            char ch = *p++;
            n--;
            int v = ch >= '0' && ch <= '9'   ? ch - '0'
                    : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                    : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                             : -1;
            if (v >= 0)
                c->csz = c->csz * 16 + v;
            else if (ch == '\n') {
                if (c->csz == 0)
                    c->cst = 5;
                else {
                    c->cst = 2;
                    chunks++;
                }
            } else
                c->cst = 1;
        } break;
        case 1: {
            char *l = memchr(p, '\n', n);
            if (!l)
                return 0;
            n -= l + 1 - p;
            p = l + 1;
            if (c->csz == 0)
                c->cst = 5;
            else {
                c->cst = 2;
                chunks++;
            }
        } break;
        case 2: {
            int64_t k = n < c->csz ? n : c->csz;
            p += k;
            n -= k;
            c->csz -= k;
            if (!c->csz)
                c->cst = 3;
        } break;
        case 3:
            p++;
            n--;
            c->cst = 4;
            break;
        case 4:
            p++;
            n--;
            c->cst = 0;
            break;
        case 5: {
            char ch = *p++;
            n--;
            if (ch == '\n') {
                c->csz = 0;
                c->cst = 0;
                return 1;
            }
        } break;
        }
    }
    return 0;
}
static int cmp(const void *a, const void *b) {
    int64_t x = *(int64_t *)a, y = *(int64_t *)b;
    return x < y ? -1 : x > y;
}
static double pc(int64_t *v, long n, double q) {
    if (!n)
        return 0;
    long i = (long)(q * (n - 1) + 0.5);
    return v[i];
}
int main(int ac, char **av) {
    int o;
    char *path = "/v1/chat/completions", *bf = 0, *key = "sk-bench-0001", *xh = "";
    while ((o = getopt(ac, av, "p:h:c:n:b:r:k:H:")) > 0)
        switch (o) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'h':
            path = optarg;
            break;
        case 'c':
            nc = atoi(optarg);
            break;
        case 'n':
            N = atol(optarg);
            break;
        case 'b':
            bf = optarg;
            break;
        case 'r':
            rate = atof(optarg);
            break;
        case 'k':
            key = optarg;
            break;
        case 'H':
            xh = optarg;
            break;
        }
    signal(SIGPIPE, SIG_IGN);
    char *body = "{}";
    size_t bl = 2;
    if (bf) {
        FILE *f = fopen(bf, "rb");
        fseek(f, 0, SEEK_END);
        bl = ftell(f);
        rewind(f);
        body = malloc(bl);
        if (fread(body, 1, bl, f) != bl)
            return 1;
        fclose(f);
    }
    char *x = malloc(strlen(xh) + 512);
    x[0] = 0;
    if (*xh) {
        strcpy(x, xh);
        strcat(x, "\r\n");
        for (char *q = x; (q = strchr(q, '|'));) {
            *q = '\n';
        }
    }
    req = malloc(bl + 4096);
    int h = sprintf(req,
                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: OpenAI/Python 1.50.0\r\nAccept: "
                    "application/json\r\nContent-Type: application/json\r\nAuthorization: Bearer "
                    "%s\r\nX-Stainless-Lang: python\r\n%sContent-Length: %zu\r\n\r\n",
                    path, port, key, x, bl);
    memcpy(req + h, body, bl);
    reqlen = h + bl;
    A = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ep = epoll_create1(0);
    C = calloc(nc, sizeof *C);
    lat = calloc(N + 1, 8);
    ttfb = calloc(N + 1, 8);
    for (int i = 0; i < nc; i++)
        dial(&C[i]);
    int64_t T0 = now_us();
    int nextc = 0;
    if (!rate)
        for (int i = 0; i < nc && sent < N; i++)
            start(&C[i], now_us());
    struct epoll_event evs[256];
    static char buf[262144];
    int64_t last = now_us();
    while (done_ < N) {
        int to = 1000;
        if (rate) {
            int64_t t = now_us();
            while (sent < N) {
                int64_t due = T0 + (int64_t)(sent * 1e6 / rate);
                if (due > t) {
                    to = (due - t) / 1000;
                    break;
                }
                int k, f = -1;
                for (k = 0; k < nc; k++) {
                    int j = (nextc + k) % nc;
                    if (!C[j].busy) {
                        f = j;
                        break;
                    }
                }
                if (f < 0) {
                    to = 1;
                    break;
                }
                nextc = (f + 1) % nc;
                start(&C[f], due);
            }
        }
        int n = epoll_wait(ep, evs, 256, to);
        int64_t t = now_us();
        if (n > 0)
            last = t;
        else if (t - last > 60000000) {
            fprintf(stderr, "stalled\n");
            break;
        }
        for (int i = 0; i < n; i++) {
            conn *c = &C[evs[i].data.u32];
            if (evs[i].events & EPOLLOUT) {
                wr(c);
                if (c->woff >= reqlen) {
                    struct epoll_event e = {EPOLLIN, {.u32 = (uint32_t)(c - C)}};
                    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                }
            }
            if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                ssize_t r = recv(c->fd, buf, sizeof buf, 0);
                int fin = 0, ok = 1;
                if (r > 0) {
                    if (!c->busy)
                        continue;
                    fin = feed(c, buf, r);
                } else if (r == 0 || errno != EAGAIN) {
                    if (!c->busy) {
                        close(c->fd);
                        dial(c);
                        continue;
                    }
                    ok = (c->inbody && !c->chunked && c->left < 0);
                    fin = 1;
                    c->keep = 0;
                }
                if (fin) {
                    finish(c, ok);
                    if (!rate && sent < N)
                        start(c, now_us());
                }
            }
        }
    }
    double el = (now_us() - T0) / 1e6;
    qsort(lat, nl, 8, cmp);
    qsort(ttfb, nl, 8, cmp);
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    double cpu = ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    printf("{\"n\":%ld,\"conns\":%d,\"secs\":%.4f,\"rps\":%.1f,\"errors\":%ld,\"non200\":%ld,\"bytes\":%ld,\"chunks\":%"
           "ld,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"max\":%.0f,\"ttfb50\":%.0f,\"ttfb99\":%.0f,\"lg_cpu_us_per_"
           "req\":%.2f}\n",
           done_, nc, el, done_ / el, errs, non200, bytes, chunks, pc(lat, nl, .5), pc(lat, nl, .9), pc(lat, nl, .99),
           pc(lat, nl, 1), pc(ttfb, nl, .5), pc(ttfb, nl, .99), cpu * 1e6 / (done_ ? done_ : 1));
    if (non200)
        fprintf(stderr, "last head: %.300s\n", C[0].head);
    return 0;
}
