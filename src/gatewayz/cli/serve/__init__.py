"""`gatewayz serve`, its workers, its first question; `gatewayz demo`; `gatewayz simulator`."""
