"""PostgreSQL, Apache Kafka and the four services as local processes."""
