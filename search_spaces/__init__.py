"""What may vary and what must hold: levels, costs, budgets and repair. numpy only."""
