"""What people look at: tables, plots, progress. Only here is plotly imported."""
