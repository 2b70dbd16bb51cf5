"""The demo's data source: its tables, generated data for them, and orders from a file."""

from local_stack.source_data.connection import create_tables
from local_stack.source_data.generation import Generated, generate
from local_stack.source_data.loading import Loaded, load_orders
from local_stack.source_data.records import DataFileError

__all__ = ["DataFileError", "Generated", "Loaded", "create_tables", "generate", "load_orders"]
