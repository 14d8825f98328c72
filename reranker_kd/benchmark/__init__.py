"""Models and backends side by side on real candidates, each in a process of its own."""
