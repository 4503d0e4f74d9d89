// How reals lie in memory: half precision.
enable f16;
alias Store = f16;
